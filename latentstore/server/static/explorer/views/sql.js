/** One SELECT over the spaces. */

import { postJson } from "../api.js";
import { busy, download, fill, h, problem, shown, table } from "../dom.js";
import { get, link, set } from "../state.js";

const SHOWN = 500; // rows

export class SqlView {
  constructor({ snapshot }) {
    this.snapshot = snapshot;
    const { name, labels, attributes, metric } = snapshot.about;
    const space = `"${name}"`; // some names are words of SQL
    const [far, order] = metric === "ip" ? ["similarity", "similarity DESC"] : ["distance", "distance"];
    const first = snapshot.columns.find((one) => one === "label") ?? snapshot.columns[0];
    const column = first && `"${first.replaceAll('"', '""')}"`;
    this.examples = [
      ["Count", column ? `SELECT ${column}, count(*) AS items\nFROM ${space}\nGROUP BY ALL\nORDER BY items DESC` : `SELECT count(*) AS items FROM ${space}`],
      ["Neighbours", `SELECT n.id, n.${far}${column ? `, s.${column}` : ""}\nFROM neighbours('${name}', '${(labels.length ? `centroid('${labels[0].replaceAll("'", "''")}')` : "'…'").replaceAll("'", "''")}', 10) AS n\nJOIN ${space} AS s USING (id)\nORDER BY n.${order}`],
      attributes.length ? ["Attributes", `SELECT name, method, positives, negatives, auc, accuracy\nFROM ${space}.attributes`] : null,
      ["Versions", `SELECT * FROM ${space}.versions`],
    ].filter(Boolean);
    this.area = h("textarea", { className: "code", spellcheck: false, "aria-label": "SQL query", onkeydown: (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); this.#go(); }
    } });
    this.result = h("div", {});
    this.node = h("div", { className: "page" }, h("h1", { className: "unseen" }, "SQL"),
      h("div", { className: "form-row" }, h("span", { className: "muted" }, "Begin with"), this.examples.map(([words, text]) => h("button", { type: "button", onclick: () => { this.area.value = text; this.#go(); } }, words))),
      this.area, h("div", { className: "buttons" }, h("button", { type: "button", className: "main", onclick: () => this.#go() }, "Run"), h("span", { className: "hint" }, "Ctrl + Enter. One SELECT; it reads, and nothing else.")), this.result);
  }

  async update(state, before) {
    if (before && before.view === state.view && before.sql === state.sql) return;
    if (!this.area.value || state.sql) this.area.value = state.sql ?? this.examples[0][1];
    if (state.sql && state.sql !== this.shownQuery) await this.#run(state.sql);
  }

  #go() {
    const query = this.area.value.trim();
    if (query === get("sql")) this.#run(query);
    else set({ sql: query }, { push: true });
  }

  async #run(query) {
    this.shownQuery = query;
    fill(this.result, busy("Running…"));
    const began = performance.now();
    try {
      const { name, version } = this.snapshot.about;
      const found = await postJson("/v1/sql", { query, at: { [name]: version } });
      if (this.shownQuery === query) this.#show(found, performance.now() - began);
    } catch (error) {
      if (this.shownQuery !== query) return;
      this.shownQuery = null;
      fill(this.result, problem(error));
    }
  }

  #show({ names, columns }, ms) {
    const count = columns[0]?.length ?? 0, rows = Array.from({ length: Math.min(count, SHOWN) }, (_, i) => columns.map((column) => column[i]));
    const linked = rows.map((row) => row.map((value, j) => (/^(id|.*_id|nearest)$/.test(names[j]) && typeof value === "string" ? h("a", { href: link({ view: "map", item: value }) }, value) : value)));
    const csv = () => {
      const cell = (value) => { const text = value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value); return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; };
      download("query.csv", new Blob([[names.map(cell).join(","), ...Array.from({ length: count }, (_, i) => columns.map((column) => cell(column[i])).join(","))].join("\n") + "\n"], { type: "text/csv" }));
    };
    fill(this.result, h("div", { className: "selection-head" },
      h("p", { className: "muted", role: "status" }, `${shown(count)} rows in ${Math.round(ms)} ms${count > SHOWN ? `; the first ${SHOWN} are shown` : ""}`), h("button", { type: "button", onclick: csv }, "Export CSV")),
    table(names, linked, "Result"));
  }
}

/** Items chosen together with the lasso: a table, an export, and the two groups of a new attribute. */

import { download, fill, h, problem, table, toast } from "../dom.js";
import { picture } from "../pictures.js";
import { link, set } from "../state.js";

const PAGE = 100;
const GROUP = 2000; // ids of one group that a predicate may name

export class Selection {
  /** @param {{snapshot, session, map: string, cleared: () => void}} context */
  constructor({ snapshot, session, map, cleared }) {
    Object.assign(this, { snapshot, session, map, cleared });
    this.node = h("section", { className: "selection", hidden: true, "aria-label": "Chosen items" });
  }

  async show(ids) {
    this.ids = ids;
    this.node.hidden = ids.length === 0;
    if (!ids.length) return;
    this.rows = PAGE;
    fill(this.node, this.#head(), h("p", { className: "busy" }, "Reading metadata…"));
    try {
      this.points = await this.snapshot.map(this.map, this.snapshot.columns);
      await this.#table();
    } catch (error) {
      fill(this.node, this.#head(), problem(error));
    }
  }

  #head() {
    const group = (name, words) => h("button", { type: "button", onclick: () => this.#keep(name) }, words);
    return h("header", { className: "selection-head" },
      h("h2", { "aria-live": "polite" }, `${this.ids.length.toLocaleString("en-GB")} items chosen`),
      h("div", { className: "buttons" },
        h("button", { type: "button", onclick: () => this.#csv() }, "Export CSV"),
        group("positive", "Keep as group +"), group("negative", "Keep as group −"),
        h("button", { type: "button", className: "quiet", onclick: () => this.cleared() }, "Clear")));
  }

  async #table() {
    const names = ["id", ...this.snapshot.columns.filter((name) => !/hash/.test(name))], page = this.ids.slice(0, this.rows);
    const addresses = this.snapshot.draws ? await this.snapshot.pictures.all(page).catch(() => null) : null;
    const rows = page.map((id, at) => [
      addresses ? picture(addresses[at], "", 28) : "",
      h("a", { href: link({ view: "item", item: id }) }, id),
      ...names.slice(1).map((name) => this.#value(id, name)),
    ]);
    fill(this.node, this.#head(), table(["", ...names], rows, "Chosen items"),
      this.rows < this.ids.length ? h("button", { type: "button", className: "quiet", onclick: () => { this.rows += PAGE; this.#table(); } },
        `Show more (${(this.ids.length - this.rows).toLocaleString("en-GB")} left)`) : null);
  }

  #value(id, name) {
    return this.points.columns.get(name)[this.points.place.get(id)];
  }

  #csv() {
    const { xs, ys, zs, place } = this.points, names = ["id", "x", "y", ...(zs ? ["z"] : []), ...this.snapshot.columns];
    const cell = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const lines = this.ids.map((id) => {
      const i = place.get(id);
      return [id, xs[i], ys[i], ...(zs ? [zs[i]] : []), ...this.snapshot.columns.map((name) => this.#value(id, name))].map(cell).join(",");
    });
    download(`${this.snapshot.about.name}-${this.snapshot.about.version}.csv`, new Blob([names.join(",") + "\n" + lines.join("\n") + "\n"], { type: "text/csv" }));
  }

  #keep(name) {
    const ids = this.ids.slice(0, GROUP), sign = name === "positive" ? "+" : "−";
    this.session.groups[name] = ids;
    const cut = ids.length < this.ids.length ? ` (the first ${GROUP.toLocaleString("en-GB")} of ${this.ids.length.toLocaleString("en-GB")})` : "";
    const both = this.session.groups.positive.length && this.session.groups.negative.length;
    toast(`Group ${sign} holds ${ids.length.toLocaleString("en-GB")} items${cut}. `,
      both ? h("button", { type: "button", onclick: () => set({ view: "edit" }, { push: true }) }, "Fit an attribute") : "Choose the other group too, then fit an attribute under Edit.");
  }
}

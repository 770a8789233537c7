/** The versions that still exist: looking at one, comparing two. */

import { getJson } from "../api.js";
import { busy, field, fill, h, problem, select, shown, table } from "../dom.js";
import { Snapshot } from "../snapshot.js";
import { set } from "../state.js";
import { tiles } from "../tiles.js";

const PICTURED = 24;

export class VersionsView {
  constructor({ snapshot }) {
    this.snapshot = snapshot;
    this.list = h("div", {});
    this.compared = h("div", { className: "parts" });
    this.choice = h("div", { className: "form-row" });
    this.node = h("div", { className: "page" }, h("h1", {}, "Versions"), this.list, h("section", { className: "card" }, h("h2", {}, "Compare two"), this.choice, this.compared));
  }

  async update(state, before) {
    if (before && ["view", "old", "new"].every((name) => before[name] === state[name])) return;
    const { about } = this.snapshot;
    try {
      const versions = (await this.snapshot.versions()).reverse();
      const tags = (version) => Object.entries(about.tags).filter(([, one]) => one === version).map(([name]) => name).join(", ");
      fill(this.list, table(["version", "items", "made by", "at", "tags", ""], versions.map((one) => [
        one.version, one.rows, one.operation, String(one.created).replace("T", " ").slice(0, 19), tags(one.version) || null,
        one.version === about.version ? h("span", { className: "muted" }, "looked at") : h("button", { type: "button", onclick: () => set({ at: one.version }, { push: true }), "aria-label": `Look at version ${one.version}` }, "Look at it"),
      ]), "Versions"));
      const numbers = versions.map((one) => String(one.version)), words = numbers.map((one) => [one, tags(Number(one)) ? `${one} (${tags(Number(one))})` : one]);
      const newest = state.new ?? numbers[0], old = state.old ?? numbers[1] ?? numbers[0];
      fill(this.choice, field("From", select(words, old, (one) => set({ old: one, new: newest }, { push: true }))), field("To", select(words, newest, (one) => set({ old, new: one }, { push: true }))),
        h("button", { type: "button", className: "main", onclick: () => this.#compare(old, newest) }, "Compare"));
      if (state.old && state.new) await this.#compare(old, newest);
    } catch (error) {
      fill(this.list, problem(error));
    }
  }

  async #compare(old, newest) {
    set({ old, new: newest }, { quiet: true });
    fill(this.compared, busy("Comparing…"));
    try {
      this.other?.close();
      this.other = await Snapshot.open(this.snapshot.about.name, newest); // what was added may not be in what is looked at
      const found = await getJson(`${this.snapshot.path}/diff?${new URLSearchParams({ old, new: newest })}`);
      const figure = (value, words) => h("div", { className: "figure" }, h("b", {}, shown(value)), h("span", { className: "muted" }, words));
      const columns = [...found.columns_added.map((one) => `+ ${one}`), ...found.columns_dropped.map((one) => `− ${one}`)];
      fill(this.compared, h("div", { className: "figures" }, figure(found.added, "added"), figure(found.deleted, "deleted"), figure(found.changed, "written again")),
        columns.length ? h("p", {}, h("span", { className: "muted" }, "Columns: "), columns.join(", ")) : null,
        ["added", "changed", "deleted"].filter((kind) => found.ids[kind].length).map((kind) => this.#listed(kind, found.ids[kind], found[kind])),
        found.added || found.deleted || found.changed || columns.length ? null : h("p", { className: "muted" }, "No item and no column differs: only what is computed from them."));
    } catch (error) {
      fill(this.compared, problem(error));
    }
  }

  #listed(kind, ids, count) {
    const few = ids.slice(0, PICTURED), rest = count - few.length;
    const body = kind === "deleted" ? h("p", {}, few.join(", ")) : tiles(this.other, few.map((id) => ({ id })), kind);
    return h("section", { className: "side-stack" }, h("h3", {}, { added: "Added", changed: "Written again", deleted: "Deleted" }[kind]), body, rest > 0 ? h("p", { className: "muted" }, `and ${shown(rest)} more`) : null);
  }

  close() {
    this.other?.close();
  }
}

/** The map of all items. */

import { scaleOf, tableOf } from "../colours.js";
import { busy, checkbox, empty, field, fill, h, problem, select, shown, toast } from "../dom.js";
import { inside, listen } from "../gestures.js";
import { arrows, chosen, names, outline, ring } from "../marks.js";
import { picture } from "../pictures.js";
import { Plane } from "../plane.js";
import { get, link, set } from "../state.js";
import { attributeArrows, centroidPlaces } from "./annotations.js";
import { HoverCard } from "./hover.js";
import { legend } from "./legend.js";
import { Selection } from "./selection.js";
import { quoted } from "../snapshot.js";

const TOGGLES = [["centroids", "Centroids"], ["arrows", "Attribute arrows"], ["decode", "Decode under the pointer"], ["pictures", "Pictures when near"]];

export class MapView {
  constructor({ snapshot, session }) {
    Object.assign(this, { snapshot, session, selected: [], corners: [] });
    this.node = h("div", { className: "map-view" });
    this.stage = h("div", { className: "stage" });
    this.panel = h("aside", { className: "panel", "aria-label": "Map settings" });
    this.below = h("div", { className: "below" });
    this.said = h("p", { className: "unseen", "aria-live": "polite" });
    this.node.append(h("div", { className: "map-main" }, this.stage, this.below), this.panel, this.said);
  }

  /** One change after the other: what a map that is still loading leaves undone would be missing to the next. */
  update(state, before) {
    this.updated = (this.updated ?? Promise.resolve()).then(() => this.#update(state, before));
    return this.updated;
  }

  async #update(state, before) {
    const { snapshot } = this;
    const name = snapshot.mapNames.includes(state.map) ? state.map : snapshot.firstMap;
    if (!name) {
      fill(this.stage, empty("This space has no map yet. Make one: ", h("code", {}, `latentstore map STORE ${snapshot.about.name}`)));
      return;
    }
    if (this.plane && this.name === name && before && before.view === state.view && same(state, before, ["colour", "where", "item", "show"])) return;
    try {
      if (this.name !== name) await this.#open(name);
      await Promise.all([this.#colour(state.colour), this.#filter(state.where ?? "")]);
      this.#panel();
      this.#marks();
    } catch (error) {
      fill(this.stage, problem(error));
      this.name = null;
    }
  }

  async #open(name) {
    this.close();
    this.name = name;
    fill(this.stage, busy("Loading the map…"));
    const column = this.#column(get("colour"));
    const points = await this.snapshot.map(name, column ? [column] : []);
    if (this.name !== name) return;
    this.points = points;
    const plane = (this.plane = new Plane(points, {
      label: `Map ${name} of ${points.ids.length} items. Arrow keys walk from item to item, shift and arrows move the map, plus and minus zoom, 0 shows all, Enter chooses.`,
      pictures: { source: this.#on("pictures") && this.snapshot.draws ? this.snapshot.pictures : null },
    }));
    const held = (get("box") ?? "").split(",").map(Number);
    if (held.length === 3 && held.every(Number.isFinite) && get("boxof") === name) plane.view = { x: held[0], y: held[1], scale: held[2] };
    let waiting = 0;
    plane.changed = () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => set({ box: [plane.view.x, plane.view.y, plane.view.scale].map((one) => +one.toPrecision(6)).join(","), boxof: name }, { quiet: true }), 250);
    };
    this.card = new HoverCard({ snapshot: this.snapshot, plane, map: name, decodes: () => this.#on("decode") && this.snapshot.draws && !plane.solid });
    listen(plane, {
      hover: (px, py, i) => { this.card.at(px, py, i); plane.over.style.cursor = i >= 0 ? "pointer" : "crosshair"; this.#point(i); },
      leave: () => { this.card.hide(); this.#point(-1); },
      pick: (i, px, py) => { this.#pick(i); if (i < 0) this.card.at(px, py, -1); },
      cursor: (i) => { this.#point(i); this.card.at(...plane.screenOf(i), i); this.#say(i); },
      lassoing: () => this.lassoing,
      lasso: (corners, done) => this.#lasso(corners, done),
    });
    const tool = (words, title, act, pressed) => h("button", { type: "button", title, "aria-label": title, ariaPressed: pressed, onclick: act }, words);
    this.lassoButton = tool("Lasso", "Draw around items to choose them (or drag with shift)", () => this.#setLasso(!this.lassoing), "false");
    this.tools = h("div", { className: "tools", role: "toolbar", "aria-label": "Map tools" }, this.lassoButton,
      tool("+", "Zoom in", () => plane.zoom(1.5)), tool("−", "Zoom out", () => plane.zoom(1 / 1.5)), tool("All", "Show the whole map", () => plane.fit()));
    this.counted = h("p", { className: "count", "aria-live": "polite" });
    fill(this.stage, plane.node, this.tools, this.counted, this.card.node);
    this.selection = new Selection({ snapshot: this.snapshot, session: this.session, map: name, cleared: () => this.#choose([]) });
    fill(this.below, this.selection.node);
    [this.scaleColumn, this.where, this.centroids, this.arrowsFor] = [null, null, null, null];
    plane.resize();
    performance.mark("map-interactive");
    this.#warm(plane);
  }

  /** The first picture and the first decoding of a service take seconds (it opens the dataset, loads the decoder): ask before they are wanted. */
  #warm(plane) {
    const { snapshot } = this;
    if (!snapshot.draws || !plane.count) return;
    snapshot.pictures.of(plane.ids[0]).catch(() => {});
    if (!plane.solid) snapshot.post("decode", { points: [[plane.flatX[0], plane.flatY[0]]], map: this.name }).catch(() => {});
  }

  #column(asked) {
    const { colourable } = this.snapshot;
    if (asked === "none") return null;
    return colourable.includes(asked) ? asked : colourable.includes("label") ? "label" : colourable[0] ?? null;
  }

  async #colour(asked) {
    const column = this.#column(asked);
    if (column === this.scaleColumn) return;
    const points = column ? await this.snapshot.map(this.name, [column]) : null;
    this.scaleColumn = column;
    this.scale = column ? scaleOf(points.columns.get(column)) : null;
    this.recolour();
  }

  recolour() {
    this.plane?.colour(this.scale?.codes ?? null, this.scale ? tableOf(this.scale) : null);
  }

  async #filter(where) {
    if (where === this.where) return;
    this.where = where;
    this.refusal = null;
    let mask = null, count = this.points.ids.length;
    if (where) {
      try {
        const ids = await this.snapshot.matching(where);
        if (this.where !== where) return;
        mask = new Uint8Array(this.points.ids.length);
        count = 0;
        for (const id of ids) {
          const i = this.points.place.get(id);
          if (i !== undefined) { mask[i] = 1; count++; }
        }
      } catch (error) {
        this.refusal = error;
      }
    }
    this.plane.filter(mask);
    const total = this.points.ids.length.toLocaleString("en-GB");
    this.counted.textContent = where && !this.refusal ? `${count.toLocaleString("en-GB")} of ${total} items` : `${total} items`;
  }

  #on(name) {
    return get("show", "centroids,decode,pictures").split(",").includes(name);
  }

  #toggle(name, on) {
    const now = new Set(get("show", "centroids,decode,pictures").split(",").filter(Boolean));
    if (on) now.add(name); else now.delete(name);
    set({ show: [...now].join(",") || "nothing" });
  }

  #panel() {
    const { snapshot } = this, where = get("where");
    const input = h("input", { type: "text", value: where, placeholder: this.scale?.entries ? `${this.scaleColumn} = '…'` : "a predicate, as in SQL",
      spellcheck: false, autocomplete: "off", "aria-invalid": this.refusal ? "true" : null });
    const form = h("form", { className: "filter", onsubmit: (event) => { event.preventDefault(); set({ where: input.value.trim() }, { push: true }); } },
      field("Filter", input), h("button", { type: "submit" }, "Show"),
      where ? h("button", { type: "button", className: "quiet", onclick: () => set({ where: "" }, { push: true }) }, "Clear") : null);
    const typing = document.activeElement?.closest?.(".filter") && this.panel.contains(document.activeElement);
    fill(this.panel,
      h("div", { className: "pair" },
        field("Map", select(snapshot.mapNames, this.name, (map) => set({ map }, { push: true }))),
        field("Colour", select([...snapshot.colourable, ["none", "one colour"]], this.scaleColumn ?? "none", (colour) => set({ colour }, { push: true })))),
      form, this.refusal ? problem(this.refusal) : null,
      this.#chosenItem(),
      legend(this.scaleColumn, this.scale, where, (predicate) => set({ where: predicate }, { push: true })),
      h("fieldset", { className: "toggles" }, h("legend", { className: "unseen" }, "Shown on the map"),
        TOGGLES.filter(([name]) => snapshot.draws || !["decode", "pictures"].includes(name)).map(([name, words]) => checkbox(words, this.#on(name), (on) => this.#toggle(name, on)))),
      where && !this.refusal ? h("button", { type: "button", onclick: () => this.#choose([...this.points.ids.keys()].filter(this.plane.shows)) }, "Choose what the filter shows") : null,
      h("p", { className: "hint" }, this.plane.solid ? "Drag turns the map, shift and drag draws a lasso, the wheel zooms." : "Drag moves, the wheel zooms, shift and drag draws a lasso. With the keyboard: arrows, + and −, Enter."));
    if (typing) input.focus();
  }

  #chosenItem() {
    const id = get("item"), i = this.points.place.get(id);
    if (i === undefined) return null;
    const frame = h("span", { className: "chosen-picture" });
    if (this.snapshot.draws) this.snapshot.pictures.of(id).then((address) => fill(frame, picture(address, `Picture of ${id}`, 64)), () => {});
    return h("section", { className: "chosen", "aria-label": "Chosen item" }, frame,
      h("div", {}, h("strong", {}, id), this.scaleColumn ? h("div", { className: "muted" }, shown(this.points.columns.get(this.scaleColumn)[i])) : null,
        h("nav", { className: "links", "aria-label": "The chosen item" }, h("a", { href: link({ view: "item" }) }, "Item"), h("a", { href: link({ view: "edit" }) }, "Edit"),
          h("a", { href: link({ view: "path", a: quoted(id) }) }, "Path from"), h("a", { href: link({ view: "path", b: quoted(id) }) }, "Path to"))));
  }

  async #marks() {
    const { plane, name } = this, item = this.points.place.has(get("item")) ? get("item") : "";
    plane.pictures.source = this.#on("pictures") && this.snapshot.draws ? this.snapshot.pictures : null;
    const call = (this.call = {}); // a later one has marks of its own
    const settle = () => {
      plane.marks = [
        (context) => outline(this.corners)(context), (context, on) => chosen(this.selected)(context, on),
        this.#on("arrows") && this.arrowsFor === item ? arrows(this.arrowList) : null, this.#on("centroids") && this.centroids ? names(this.centroids) : null,
        item ? ring(this.points.place.get(item)) : null, (context, on) => { if (this.pointed >= 0) ring(this.pointed, "--ink", 7)(context, on); },
      ].filter(Boolean);
      plane.draw();
    };
    settle();
    try {
      if (this.#on("centroids") && !this.centroids) {
        const found = await centroidPlaces(this.snapshot, name);
        if (this.plane !== plane) return;
        this.centroids = found;
      }
      if (this.#on("arrows") && this.arrowsFor !== item) {
        const found = await attributeArrows(this.snapshot, name, item);
        if (this.call !== call || this.plane !== plane) return;
        [this.arrowsFor, this.arrowList] = [item, found];
      }
    } catch (error) {
      if (this.call !== call || this.plane !== plane) return;
      toast(error.message);
      this.centroids ??= [];
    }
    if (this.call === call && this.plane === plane) settle();
  }

  #point(i) {
    if (i === this.pointed) return;
    this.pointed = i;
    this.plane.drawMarks();
  }

  #say(i) {
    const label = this.scaleColumn ? `, ${shown(this.points.columns.get(this.scaleColumn)[i])}` : "";
    this.said.textContent = `${this.points.ids[i]}${label}`;
  }

  #pick(i) {
    if (i >= 0) set({ item: this.points.ids[i] }, { push: true });
  }

  #setLasso(on) {
    this.lassoing = on;
    this.lassoButton.ariaPressed = String(on);
    this.plane.over.classList.toggle("lassoing", on);
  }

  #lasso(corners, done) {
    this.corners = done ? [] : corners;
    if (!done) return void this.plane.drawMarks();
    this.#setLasso(false);
    const found = [], { plane } = this;
    for (let i = 0; i < plane.count; i++) {
      const [px, py] = plane.screenOf(i);
      if (plane.shows(i) && inside(corners, px, py)) found.push(i);
    }
    this.#choose(found);
    if (!found.length) toast("No item lies inside.");
  }

  #choose(list) {
    this.selected = list;
    this.selection.show(list.map((i) => this.points.ids[i]));
    this.plane.drawMarks();
  }

  close() {
    this.card?.hide();
    this.plane?.close();
    [this.plane, this.selected, this.corners, this.pointed] = [null, [], [], -1];
  }
}

const same = (a, b, keys) => keys.every((key) => a[key] === b[key]);

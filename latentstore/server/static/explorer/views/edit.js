/** An item moved along attribute vectors, decoded while the slider moves. */

import { Live } from "../api.js";
import { copyButton, empty, field, fill, gauge, h, problem, toast } from "../dom.js";
import { line, ring, spots } from "../marks.js";
import { picture, png } from "../pictures.js";
import { SmallMap } from "../smallmap.js";
import { quoted } from "../snapshot.js";
import { set } from "../state.js";
import { neighbourTiles } from "../tiles.js";
import { FitForm } from "./fit.js";

const REACH = 3; // times an attribute vector
const NEIGHBOURS = 8;

export class EditView {
  #live;
  #placed;
  #undo = [];

  constructor({ snapshot, session, reload }) {
    this.snapshot = snapshot;
    this.amounts = new Map(snapshot.about.attributes.map((name) => [name, 0]));
    this.#live = new Live((signal, query) => snapshot.post("edit", { query, k: NEIGHBOURS, pictures: true }, { signal }), (answer, query, began) => this.#show(answer, query, began), (error) => this.#fail(error));
    this.map = new SmallMap(snapshot, { label: "Where the edited point lies", pick: (item) => set({ item }, { push: true }) });
    this.#placed = new Live((signal, query, base) => snapshot.post("place", { query: [base, query], map: this.map.name }, { signal }), ({ points }) => this.#mark(points));
    this.input = h("input", { type: "text", spellcheck: false, autocomplete: "off", onchange: () => set({ item: this.input.value.trim() }, { push: true }) });
    this.sliders = h("div", { className: "card" });
    this.before = h("figure", {});
    this.after = h("figure", {});
    this.gauge = h("div", {});
    this.around = h("div", {});
    this.text = h("div", { className: "expression" });
    this.fit = new FitForm({ snapshot, session, done: (version) => reload(version) });
    this.node = h("div", { className: "page" }, h("h1", { className: "unseen" }, "Edit"),
      h("div", { className: "columns" },
        h("div", { className: "side-stack" }, h("div", { className: "form-row" }, field("Item", this.input),
          h("button", { type: "button", onclick: async () => set({ item: await snapshot.someId() }, { push: true }) }, "Any other")), this.sliders, this.fit.node),
        h("div", { className: "side-stack" }, h("div", { className: "card" }, h("div", { className: "pair-pictures edit-pictures" }, this.before, this.after), this.gauge, this.text),
          h("h2", {}, "Nearest items of the edited point"), this.around, this.map.node)));
  }

  async update(state, before) {
    this.fit.update();
    if (before && before.view === state.view && before.item === state.item && before.q === state.q) return;
    if (!state.item) return void set({ item: await this.snapshot.someId() });
    if (this.item !== state.item || (state.q ?? "") !== this.written) {
      this.item = state.item;
      this.#undo = [];
      this.#read(state.q ?? "");
      this.input.value = state.item;
      this.#draw();
      if (this.snapshot.draws) this.snapshot.pictures.of(state.item).then((address) => { if (this.item === state.item) fill(this.before, picture(address, `Picture of ${state.item}`, 200), h("figcaption", {}, state.item)); }, (error) => { fill(this.before); fill(this.around, problem(error)); });
    }
    this.#ask();
  }

  /** Amounts from the address: name:amount, separated by commas. */
  #read(text) {
    for (const name of this.amounts.keys()) this.amounts.set(name, 0);
    for (const part of text ? text.split(",") : []) {
      const [name, amount] = part.split(":");
      if (this.amounts.has(name) && amount && Number.isFinite(Number(amount))) this.amounts.set(name, Number(amount));
      else toast(`“${part}” in this address is no attribute of the space with an amount; it is left out.`);
    }
    this.written = text;
  }

  #draw() {
    if (!this.amounts.size) {
      fill(this.sliders, empty("This space has no attribute yet: fit one below from two groups chosen on the map."));
      return;
    }
    fill(this.sliders, h("div", { className: "selection-head" }, h("h2", {}, "Attributes"), h("div", { className: "buttons" },
      this.undoButton = h("button", { type: "button", disabled: !this.#undo.length, onclick: () => this.#back() }, "Undo"),
      h("button", { type: "button", onclick: () => this.#reset() }, "Reset"))),
    [...this.amounts].map(([name, amount]) => {
      const out = h("output", {}, amount.toFixed(2)), id = `slider-${name}`;
      const slider = h("input", { type: "range", id, min: -REACH, max: REACH, step: 0.05, value: amount,
        onpointerdown: () => this.#remember(), onkeydown: (event) => { if (!event.repeat && event.key.startsWith("Arrow")) this.#remember(); },
        oninput: () => { this.amounts.set(name, Number(slider.value)); out.value = Number(slider.value).toFixed(2); this.#ask(); },
        onchange: () => this.#write() });
      return h("div", { className: "slider" }, h("label", { htmlFor: id, title: name }, name.replaceAll("_", " ")), slider, out);
    }));
  }

  #remember() {
    this.#undo.push([...this.amounts]);
    if (this.undoButton) this.undoButton.disabled = false;
  }

  #back() {
    const last = this.#undo.pop();
    if (!last) return;
    this.amounts = new Map(last);
    this.#draw();
    this.#write();
    this.#ask();
  }

  #reset() {
    this.#remember();
    for (const name of this.amounts.keys()) this.amounts.set(name, 0);
    this.#draw();
    this.#write();
    this.#ask();
  }

  #write() {
    this.written = [...this.amounts].filter(([, amount]) => amount).map(([name, amount]) => `${name}:${amount}`).join(",");
    set({ q: this.written }, { quiet: true });
  }

  get expression() {
    let text = quoted(this.item);
    for (const [name, amount] of this.amounts) if (amount) text += ` ${amount < 0 ? "-" : "+"} ${Math.abs(amount)} * ${name}`;
    return text;
  }

  #ask() {
    const { expression } = this;
    this.#live.want(expression, performance.now());
    if (this.map.name) this.#placed.want(expression, quoted(this.item));
    const python = `space.latent("${expression.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}")`;
    const sql = `SELECT * FROM neighbours(${quoted(this.snapshot.about.name)}, ${quoted(expression)}, 10)`;
    const row = (words, text) => h("div", {}, h("span", { className: "field-name" }, words), h("div", { className: "code-row" }, h("code", {}, text), copyButton(() => text, "Copy")));
    fill(this.text, row("Python", python), row("SQL", sql));
  }

  #show(answer, query, began) {
    if (answer.picture) fill(this.after, picture(png(answer.picture), `Edited: ${query}`, 200), h("figcaption", {}, "edited"));
    else fill(this.after, empty("This space draws no pictures."));
    performance.measure("slider-to-picture", { start: began });
    if (performance.getEntriesByName("slider-to-picture").length > 300) performance.clearMeasures("slider-to-picture");
    fill(this.gauge, gauge(answer.realism, "Realism"));
    const key = answer.ids.join("\n");
    if (key !== this.shownKey || !this.around.childNodes.length || this.around.querySelector(".problem")) fill(this.around, neighbourTiles(this.snapshot, answer, "Nearest items of the edited point"));
    this.shownKey = key;
  }

  /** No picture of an earlier edit stays above what went wrong with this one. */
  #fail(error) {
    fill(this.after);
    fill(this.gauge);
    fill(this.around, problem(error));
  }

  #mark([from, to]) {
    this.map.show(line([from, to], "--accent"), ring(this.map.placeOf(this.item)), spots([{ at: to }], "--second", 9));
  }

  recolour() {
    this.map.recolour();
  }

  close() {
    this.#live.stop();
    this.#placed.stop();
    this.map.close();
  }
}

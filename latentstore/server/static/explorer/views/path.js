/** The way from one latent to another, or the mixes of three or four. */

import { Latest, postBlob } from "../api.js";
import { busy, download, empty, field, fill, gauge, h, problem, select, shown, toast } from "../dom.js";
import { Player, filmstrip, savePng } from "../filmstrip.js";
import { line, spots } from "../marks.js";
import { picture, png } from "../pictures.js";
import { SmallMap } from "../smallmap.js";
import { centroid, quoted } from "../snapshot.js";
import { get, set } from "../state.js";

const METHODS = ["lerp", "slerp", "gaussian", "geodesic", "graph", "transport"];
const ENDS = ["a", "b", "c", "d"];

export class PathView {
  #latest = new Latest();

  constructor({ snapshot }) {
    this.snapshot = snapshot;
    this.map = new SmallMap(snapshot, { label: "The path on the map. Click an item to put it into the field you were in last.", pick: (id) => this.#pick(id) });
    this.player = new Player((i) => this.#look(i));
    this.lastField = "a";
    this.fields = Object.fromEntries(ENDS.map((name) => [name, h("input", { type: "text", spellcheck: false, autocomplete: "off", list: "known-points",
      onfocus: () => { this.lastField = name; }, onchange: () => set({ [name]: this.fields[name].value.trim() }, { push: true }) })]));
    this.fields.c.placeholder = this.fields.d.placeholder = "none: a path";
    this.head = h("div", { className: "form-row" });
    this.body = h("div", { className: "parts" });
    this.node = h("div", { className: "page" }, h("h1", { className: "unseen" }, "Path"),
      h("datalist", { id: "known-points" }, snapshot.about.labels.map((one) => h("option", { value: centroid(one) }))),
      h("form", { className: "form-row", onsubmit: (event) => event.preventDefault() }, ENDS.map((name) => field({ a: "From A", b: "to B", c: "third corner C", d: "fourth corner D" }[name], this.fields[name]))),
      this.head, this.body);
  }

  #pick(id) {
    set({ [this.lastField]: quoted(id) }, { push: true });
    if (this.lastField === "a") this.lastField = "b";
  }

  async update(state, before) {
    const asked = ["view", ...ENDS, "method", "steps", "beside"];
    if (before && asked.every((name) => before[name] === state[name])) return;
    if (!(state.a && state.b) && !this.snapshot.about.rows) return void fill(this.body, empty("This space has no items to walk between yet."));
    if (!state.a || !state.b) return void set(await this.#some(state));
    for (const name of ENDS) this.fields[name].value = state[name] ?? "";
    const key = JSON.stringify(asked.map((name) => state[name]));
    if (this.shownKey === key) return;
    this.shownKey = key;
    this.#settings(state);
    fill(this.body, busy(`Walking by ${this.method}…`));
    try {
      await (state.c ? this.#grid(state) : this.#walk(state));
    } catch (error) {
      if (this.shownKey !== key) return; // of a path that is no longer looked at
      this.shownKey = null;
      fill(this.body, problem(error));
    }
  }

  async #some(state) {
    const { labels } = this.snapshot.about;
    const one = async (i) => (labels.length > 1 ? centroid(labels[i ? labels.length - 1 : 0]) : quoted(await this.snapshot.someId()));
    const chosen = get("item") ? quoted(get("item")) : null;
    return { a: state.a ?? (state.b ? null : chosen) ?? (await one(0)), b: state.b ?? (await one(1)) };
  }

  get method() {
    return METHODS.includes(get("method")) ? get("method") : "lerp";
  }

  /** What is shown beside the path: optimal transport of the pictures, unless something else is chosen. */
  #beside(state) {
    if (METHODS.includes(state.beside)) return state.beside;
    return state.beside === "nothing" || !this.snapshot.draws || this.method === "transport" ? "nothing" : "transport";
  }

  #settings(state) {
    const steps = h("input", { type: "number", min: 2, max: 60, value: state.steps ?? (state.c ? 7 : 9), onchange: () => set({ steps: steps.value }, { push: true }) });
    fill(this.head,
      field("Method", select(METHODS, this.method, (method) => set({ method }, { push: true }))),
      field(state.c ? "Rows" : "Frames", steps),
      state.c ? null : field("Beside it", select(["nothing", ...METHODS], this.#beside(state), (beside) => set({ beside }, { push: true }))),
      h("button", { type: "button", onclick: () => set({ a: state.b, b: state.a }, { push: true }) }, "Swap A and B"));
  }

  async #walk(state) {
    const { snapshot } = this, steps = Number(state.steps ?? 9);
    const methods = [this.method, this.#beside(state)].filter((one) => one !== "nothing");
    const walks = await this.#latest.run((signal) => Promise.all(methods.map((method) =>
      snapshot.post("interpolate", { from: state.a, to: state.b, steps, method, pictures: true }, { signal }))));
    if (!walks) return;
    const [walk] = walks;
    this.walk = walk;
    this.#unmark();
    const parts = walks.map((one, i) => this.#described(one, state, i === 0));
    const player = walk.pictures ? this.player : null;
    fill(this.body, parts, h("div", { className: "columns" }, player?.node, this.map.node));
    if (player) {
      player.load(walk.pictures);
      this.#look(0);
    }
    if (!this.map.name) return;
    await this.map.ready;
    const [places, ...others] = await Promise.all(walks.map((one) => this.map.places(one.latents)));
    if (this.walk !== walk) return;
    this.marksOf = (i) => [...others.map((one) => line(one, "--second", true)), line(places), spots(places.map((at) => ({ at }))),
      spots([{ at: places[0], text: "A" }, { at: places.at(-1), text: "B" }]), spots([{ at: places[i] }], "--ink", 9)];
    this.map.show(...this.marksOf(this.frame));
  }

  /** Until the places of what is shown now have arrived, the map shows none. */
  #unmark() {
    this.marksOf = null;
    this.frame = 0;
    this.map.show();
  }

  #described(walk, state, main) {
    const { report } = walk, figure = (words, value) => h("div", {}, h("span", { className: "muted" }, `${words} `), shown(value));
    let strip = empty("This space draws no pictures.");
    if (walk.pictures) {
      const made = filmstrip(walk, (i) => { if (main) this.#look(i, true); }, `Frames by ${walk.method}`);
      strip = made.node;
      if (main) this.strip = made;
    }
    const mean = report.realism ? report.realism.reduce((sum, one) => sum + one, 0) / report.realism.length : null;
    return h("section", { className: "card" },
      h("div", { className: "selection-head" }, h("h2", {}, walk.method), h("div", { className: "buttons" },
        walk.pictures ? ["PNG", "GIF", "MP4"].map((kind) => h("button", { type: "button", onclick: () => this.#save(walk, state, kind.toLowerCase()) }, kind)) : null)),
      strip,
      h("div", { className: "buttons" }, figure("mean realism", mean), figure("length", report.length), figure("longest step ÷ mean", report.evenness),
        figure("energy beside the straight line", report.decoded_energy)));
  }

  async #save(walk, state, kind) {
    const name = `path-${walk.method}.${kind}`;
    try {
      if (kind === "png") return await savePng(walk.pictures, name);
      const body = this.snapshot.at({ from: state.a, to: state.b, steps: walk.latents.length, method: walk.method, format: kind });
      download(name, await postBlob(`${this.snapshot.path}/interpolate/film`, body));
    } catch (error) {
      toast(`${error.message}. ${error.hint ?? ""}`);
    }
  }

  #look(i, fromStrip = false) {
    if (!this.walk?.pictures) return;
    this.frame = i;
    this.player.show(i);
    if (!fromStrip) this.strip.look(i);
    if (this.marksOf) this.map.show(...this.marksOf(i));
  }

  async #grid(state) {
    const { snapshot } = this, anchors = ENDS.map((name) => state[name]).filter(Boolean);
    const made = await this.#latest.run((signal) => snapshot.post("grid", { anchors, rows: Math.min(14, Number(state.steps ?? 7)), method: this.method }, { signal }));
    if (!made) return;
    this.walk = made;
    this.#unmark();
    const mixes = h("div", { className: "mixes", role: "img", "aria-label": `Mixes of ${anchors.length} points` });
    mixes.style.gridTemplateColumns = `repeat(${made.shape[1]}, 1fr)`;
    fill(mixes, made.latents.map((latent, i) => (latent && made.pictures ? h("div", { title: `realism ${shown(made.realism[i])}` }, picture(png(made.pictures[i]), "", 84)) : h("div", {}))));
    const known = made.realism.filter((one) => one !== null);
    fill(this.body, h("section", { className: "card" },
      h("div", { className: "selection-head" }, h("h2", {}, `Mixes of ${anchors.length}`), made.pictures ? h("button", { type: "button", onclick: () => savePng(made.pictures, "grid.png", made.shape[1]) }, "PNG") : null),
      mixes, known.length ? gauge(known.reduce((sum, one) => sum + one, 0) / known.length, "Mean realism") : null), this.map.node);
    if (!this.map.name) return;
    await this.map.ready;
    const places = await this.map.places(anchors);
    if (this.walk !== made) return;
    this.map.show(line([...places, places[0]], "--accent", true), spots(places.map((at, i) => ({ at, text: "ABCD"[i] }))));
  }

  recolour() {
    this.map.recolour();
  }

  close() {
    this.#latest.stop();
    this.player.stop();
    this.map.close();
  }
}

/** New latents from where the data lies, beside the nearest real item. */

import { Latest } from "../api.js";
import { busy, field, fill, gauge, h, problem, select } from "../dom.js";
import { picture, png } from "../pictures.js";
import { link, set } from "../state.js";

// The mixture of a large space may take longer to fit than one request may last. It is kept then; asking too soon would
// only begin another fit beside it.
const TRIES = 3, PAUSE = 15_000; // ms

export class GenerateView {
  #latest = new Latest();

  constructor({ snapshot }) {
    this.snapshot = snapshot;
    this.form = h("form", { className: "form-row", onsubmit: (event) => event.preventDefault() });
    this.result = h("div", {});
    this.node = h("div", { className: "page" }, h("h1", { className: "unseen" }, "Generate"), this.form, this.result);
  }

  async update(state, before) {
    const asked = ["view", "label", "n", "seed", "sampler"];
    if (before && asked.every((name) => before[name] === state[name]) && this.result.childNodes.length) return;
    const { snapshot } = this, { about } = snapshot, seed = Number(state.seed ?? 0), n = Math.min(64, Math.max(1, Number(state.n ?? 12) || 12));
    const methods = about.kind === "vae" && !state.label ? ["gmm", "prior"] : ["gmm"], method = methods.includes(state.sampler) ? state.sampler : "gmm";
    const number = h("input", { type: "number", min: 1, max: 64, value: n, onchange: () => set({ n: number.value }) });
    const seeds = h("input", { type: "number", min: 0, value: seed, onchange: () => set({ seed: seeds.value }) });
    fill(this.form, field("Like", select([["", "all items"], ...about.labels], state.label ?? "", (label) => set({ label }, { push: true }))),
      field("From", select(methods.map((one) => [one, { gmm: "a mixture of Gaussians", prior: "the prior N(0, I)" }[one]]), method, (sampler) => set({ sampler }))),
      field("How many", number), field("Seed", seeds), h("button", { type: "button", className: "main", onclick: () => set({ seed: seed + 1 }) }, "Others"));
    fill(this.result, busy(`Drawing ${n} samples…`));
    try {
      const drawn = await this.#latest.run((signal) => this.#draw({ n, method, label: state.label || null, seed }, signal));
      if (drawn) this.#show(drawn);
    } catch (error) {
      fill(this.result, problem(error));
    }
  }

  async #draw(body, signal) {
    for (let tries = 1; ; tries++) {
      try {
        return await this.snapshot.post("sample", body, { signal });
      } catch (error) {
        if (error.type !== "TooSlow" || tries === TRIES) throw error;
        fill(this.result, busy("The mixture is still being fitted to these items; this is done once. Asking again soon…"));
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
        if (signal.aborted) throw error;
      }
    }
  }

  #show(drawn) {
    const { snapshot } = this, frames = drawn.nearest.map(() => h("span", { className: "hover-picture" }));
    for (const frame of frames) frame.style.cssText = "width:100%;height:auto;aspect-ratio:1";
    const mean = drawn.realism ? drawn.realism.reduce((sum, one) => sum + one, 0) / drawn.realism.length : null;
    fill(this.result, h("div", { className: "mean" }, gauge(mean, "Mean realism of these samples")),
      h("ul", { className: "samples", "aria-label": "Samples" }, drawn.nearest.map((id, i) => h("li", { className: "card" },
        h("div", { className: "pair-pictures" },
          h("figure", {}, drawn.pictures ? picture(png(drawn.pictures[i]), `Sample ${i + 1}`, 84) : null, h("figcaption", {}, "sample")),
          h("figure", {}, h("a", { href: link({ view: "item", item: id }), "aria-label": `Nearest real item ${id}` }, frames[i]), h("figcaption", { title: id }, "nearest"))),
        gauge(drawn.realism?.[i])))));
    if (snapshot.draws) snapshot.pictures.all(drawn.nearest).then((addresses) => addresses.forEach((one, i) => fill(frames[i], picture(one, `Picture of ${drawn.nearest[i]}`, 84))), () => {});
  }

  close() {
    this.#latest.stop();
  }
}

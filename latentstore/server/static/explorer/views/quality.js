/** How good and how fresh what is served is. */

import { busy, fill, h, problem, select, shown, table } from "../dom.js";
import { measureIndex, measureMap } from "../measure.js";
import { chart, purge } from "../plotly.js";

/** What is said of an encoder: its metric, in words, and what is better: −1 less, 1 more, 0 neither. */
const MEASURES = [
  ["mse", "test MSE, pixels from 0 to 1", -1],
  ["knn5", "5 neighbours vote the right label", 1],
  ["knn10", "10 neighbours vote the right label", 1],
  ["linear_probe", "a linear classifier finds the label", 1],
  ["negative_elbo", "−ELBO, nats per item", -1],
  ["active_dims", "active dimensions", 0],
  ["index_recall", "recall@10 of the index", 1],
];

export class QualityView {
  constructor({ snapshot }) {
    this.snapshot = snapshot;
    this.measured = h("div", { className: "card" });
    this.history = h("div", { className: "chart", role: "img", "aria-label": "Items over versions" });
    this.attributes = h("div", { className: "chart", role: "img", "aria-label": "Attributes: how well they separate their groups" });
    this.concepts = h("div", {});
    const { about } = snapshot;
    const advice = about.advice.length ? h("ul", {}, about.advice.map((one) => h("li", {}, one))) : h("p", {}, "Nothing needs to be done: all that was computed is fresh.");
    const figure = (value, words) => h("div", { className: "figure" }, h("b", {}, value), h("span", { className: "muted" }, words));
    this.node = h("div", { className: "page" }, h("h1", { className: "unseen" }, "Quality"),
      h("div", { className: "figures" }, figure(shown(about.rows), "items"), figure(about.index, "index"), figure(shown(about.unindexed), "items not indexed"),
        figure(String(about.artefacts.filter((one) => one.stale).length), "stale artefacts"), figure(about.kind ?? "none", "encoder"), figure(`${about.dim}`, `dimensions, ${about.metric}`)),
      h("section", { className: "card" }, h("h2", {}, "What to run"), advice),
      this.evaluated = h("section", {}, h("h2", {}, "What was evaluated"), busy()), this.measured,
      h("section", {}, h("h2", {}, "What was computed")),
      table(["room", "name", "from version", "added since", "deleted since", "state", "quality"], about.artefacts.map((one) =>
        [one.room, one.name, one.version, one.added, one.deleted, one.stale ? "stale" : "fresh", Object.entries(one.quality).map(([name, value]) => `${name} ${shown(value)}`).join(", ") || null]), "Artefacts"),
      h("div", { className: "two" }, h("section", { className: "card" }, h("h2", {}, "Attributes"), this.attributes, this.concepts), h("section", { className: "card" }, h("h2", {}, "Items over versions"), this.history)));
    this.#offer();
  }

  /** The newest evaluation: the encoder beside PCA, all figures, and their history. */
  async #evaluate() {
    const found = await this.snapshot.table("evaluations");
    const heading = h("h2", {}, "What was evaluated");
    if (!found.length) {
      fill(this.evaluated, heading, h("p", { className: "muted" }, "Nothing yet: latentstore run, or latentstore evaluate, measures a version."));
      return;
    }
    const newest = found.at(-1).version;
    const metrics = new Map(found.filter((one) => one.version === newest).map((one) => [one.metric, one.value]));
    const beside = MEASURES.filter(([name]) => metrics.has(name)).map(([name, words, better]) => {
      const [ours, theirs] = [metrics.get(name), metrics.get(`pca_${name}`)];
      const won = better && theirs !== undefined && ours !== theirs ? ((ours - theirs) * better > 0 ? "encoder" : "PCA") : null;
      return [words, shown(ours), theirs === undefined ? null : shown(theirs), won];
    });
    this.series = {};
    for (const one of found) (this.series[one.metric] ??= []).push(one);
    const names = Object.keys(this.series);
    const first = ["knn10", "mse", "index_recall"].find((name) => name in this.series) ?? names[0];
    const drawn = h("div", { className: "chart", role: "img", "aria-label": "A metric over versions" });
    const picked = select(names.map((name) => [name, name]), first, (name) => this.#follow(drawn, name), "Metric");
    fill(this.evaluated, heading, h("p", { className: "muted" }, `Version ${newest}, ${found.at(-1).created}.`),
      beside.length ? table(["on test items", "encoder", "PCA", "better"], beside, "Encoder beside PCA of the same width") : null,
      h("div", { className: "card" }, h("label", {}, "Over versions: ", picked), drawn),
      h("details", {}, h("summary", {}, `All ${metrics.size} figures`), table(["metric", "value"], [...metrics].map(([name, value]) => [name, shown(value)]), "All figures of this version")));
    this.drawn = drawn;
    await this.#follow(drawn, first);
  }

  async #follow(drawn, name) {
    const points = this.series[name];
    await chart(drawn, [{ type: "scatter", mode: "lines+markers", x: points.map((one) => one.version), y: points.map((one) => one.value), hovertemplate: "version %{x}: %{y:.5g}<extra></extra>" }],
      { xaxis: { title: { text: "version" }, type: "category" }, yaxis: { title: { text: name } }, height: 260 });
  }

  #offer() {
    fill(this.measured, h("div", { className: "selection-head" }, h("h2", {}, "Measured from here"), h("button", { type: "button", onclick: () => this.#measure() }, "Measure now")),
      h("p", { className: "muted" }, "Over 100 items: how many of the true ten nearest the index finds, and how many of them are also among the ten nearest on each map."), this.figures = h("div", {}));
  }

  async #measure() {
    const { snapshot } = this;
    fill(this.figures, busy("Searching with and without the index…"));
    try {
      const maps = await Promise.all(snapshot.mapNames.map((name) => snapshot.map(name)));
      const ids = maps[0]?.ids ?? (await snapshot.matching("true"));
      const { recall, ms, exactMs, found } = await measureIndex(snapshot, ids);
      const figure = (value, words) => h("div", { className: "figure" }, h("b", {}, value), h("span", { className: "muted" }, words));
      fill(this.figures, h("div", { className: "figures" }, figure(recall.toFixed(3), "recall@10 of the index"), figure(`${ms.toFixed(2)} ms`, "per query of a batch, HTTP included"), figure(`${exactMs.toFixed(2)} ms`, "the same, exactly"),
        maps.map((points) => figure(shown(measureMap(points, found)), `neighbours kept by ${points.name}`))));
    } catch (error) {
      fill(this.figures, problem(error));
    }
  }

  async update(state, before) {
    if (before && before.view === state.view) return;
    await Promise.all([this.recolour(), this.#evaluate().catch((error) => fill(this.evaluated, problem(error)))]);
  }

  async recolour() {
    try {
      const [versions, attributes] = await Promise.all([this.snapshot.versions(), this.snapshot.table("attributes")]);
      if (attributes.length) {
        const bars = (name) => ({ type: "bar", orientation: "h", name, y: attributes.map((one) => one.name), x: attributes.map((one) => one[name]), text: attributes.map((one) => one[name]?.toFixed(3)), textposition: "inside", insidetextanchor: "end", textangle: 0, textfont: { size: 11 } });
        await chart(this.attributes, [bars("auc"), bars("accuracy")], { showlegend: true, legend: { orientation: "h", y: -0.15 }, xaxis: { range: [0, 1] }, yaxis: { autorange: "reversed" }, bargap: 0.25, height: 80 + 48 * attributes.length });
      } else fill(this.attributes, h("p", { className: "muted" }, "None is fitted yet."));
      await chart(this.history, [{ type: "scatter", mode: "lines+markers", x: versions.map((one) => one.version), y: versions.map((one) => one.rows), text: versions.map((one) => one.operation), hovertemplate: "version %{x}: %{y} items, %{text}<extra></extra>", line: { shape: "hv" } }],
        { xaxis: { title: { text: "version" }, dtick: versions.length < 20 ? 1 : undefined }, yaxis: { rangemode: "tozero" } });
    } catch (error) {
      fill(this.concepts, problem(error));
    }
  }

  close() {
    purge(this.attributes);
    purge(this.history);
    if (this.drawn) purge(this.drawn);
  }
}

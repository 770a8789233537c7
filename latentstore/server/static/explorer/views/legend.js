/** What the colours of a map mean; a category is a button that filters by it. */

import { ramp } from "../colours.js";
import { h, shown } from "../dom.js";
import { quoted } from "../snapshot.js";

export function legend(column, scale, where, choose) {
  if (!scale) return null;
  if (scale.kind === "numbers") {
    const bar = h("div", { className: "ramp", role: "img", "aria-label": `${column} from ${shown(scale.low)} to ${shown(scale.high)}` });
    bar.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(ramp).join(", ")})`;
    return h("div", { className: "legend" }, bar, h("div", { className: "ramp-ends" }, h("span", {}, shown(scale.low)), h("span", {}, shown(scale.high))));
  }
  return h("ul", { className: "legend", "aria-label": `Colours by ${column}` }, scale.entries.map(({ value, text, colour, count }) => {
    const dot = h("span", { className: "dot", "aria-hidden": "true" });
    dot.style.background = colour;
    const predicate = value === null ? `${name(column)} is null` : `${name(column)} = ${typeof value === "string" ? quoted(value) : value}`;
    const words = [dot, h("span", { className: "legend-name" }, text), h("span", { className: "muted number" }, count.toLocaleString("en-GB"))];
    if (value === undefined) return h("li", {}, h("span", { className: "legend-row" }, words));
    return h("li", {}, h("button", { type: "button", className: "legend-row", ariaPressed: String(where === predicate),
      title: `Show only ${text}`, onclick: () => choose(where === predicate ? "" : predicate) }, words));
  }));
}

/** A column's name in a predicate. */
const name = (column) => (/^[a-z_][a-z0-9_]*$/i.test(column) ? column : `"${column.replaceAll('"', '""')}"`);

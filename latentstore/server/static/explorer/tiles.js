/** Items as small pictures that lead to them. */

import { fill, h, shown } from "./dom.js";
import { picture } from "./pictures.js";
import { link } from "./state.js";

/**
 * @param {Snapshot} snapshot
 * @param {{id: string, below?: string}[]} items
 */
export function tiles(snapshot, items, label) {
  const frames = items.map(() => h("span", { className: "hover-picture" }));
  const list = h("ul", { className: "tiles", "aria-label": label }, items.map(({ id, below }, i) =>
    h("li", {}, h("a", { className: "tile", href: link({ view: "item", item: id }), title: id },
      snapshot.draws ? frames[i] : null, h("span", {}, id), below ? h("span", { className: "muted" }, below) : null))));
  for (const frame of frames) frame.style.cssText = "width:100%;height:auto;aspect-ratio:1";
  if (snapshot.draws) snapshot.pictures.all(items.map((one) => one.id)).then((addresses) => addresses.forEach((address, i) => fill(frames[i], picture(address, "", 84))), () => {});
  return list;
}

/** Neighbours, with label and distance below. */
export function neighbourTiles(snapshot, found, label = "Nearest items") {
  const far = found.distances ?? found.similarities ?? [];
  return tiles(snapshot, found.ids.map((id, i) => ({ id, below: shown(far[i]) })), label);
}

/** A map beside something else: the items in grey, what matters over them. */

import { h } from "./dom.js";
import { listen } from "./gestures.js";
import { Plane } from "./plane.js";
import { get } from "./state.js";

/** The map that was looked at last, else the first. */
export function mapName(snapshot) {
  return snapshot.mapNames.includes(get("map")) ? get("map") : snapshot.firstMap;
}

export class SmallMap {
  /**
   * @param {Snapshot} snapshot
   * @param {{label: string, pick?: (id: string) => void, hint?: string}} options
   */
  constructor(snapshot, { label, pick, hint }) {
    Object.assign(this, { snapshot, label, pick });
    this.node = h("div", { className: "small-map" }, h("p", { className: "hint" }, hint ?? ""));
    this.hint = this.node.firstChild;
    this.name = mapName(snapshot);
    this.ready = this.name ? this.#open().catch((error) => { this.hint.textContent = error.message; return false; }) : Promise.resolve(false);
    if (!this.name) this.node.hidden = true;
  }

  async #open() {
    this.points = await this.snapshot.map(this.name);
    const plane = (this.plane = new Plane(this.points, { label: this.label, radius: 0.8 }));
    listen(plane, {
      pick: (i) => { if (i >= 0) this.pick?.(this.points.ids[i]); },
      hover: (px, py, i) => { this.hint.textContent = i >= 0 ? this.points.ids[i] : ""; plane.over.style.cursor = i >= 0 && this.pick ? "pointer" : "grab"; },
    });
    plane.filter(new Uint8Array(plane.count)); // all of them faint
    this.node.prepend(plane.node);
    plane.resize();
    return true;
  }

  /** Draw these over it, instead of what was drawn. */
  async show(...marks) {
    if (!(await this.ready)) return;
    this.plane.marks = marks.filter(Boolean);
    this.plane.drawMarks();
  }

  placeOf(id) {
    return this.points?.place.get(id) ?? -1;
  }

  /** Where latents or points of the algebra lie. */
  async places(query) {
    return (await this.snapshot.post("place", { query, map: this.name })).points;
  }

  recolour() {
    this.plane?.draw();
  }

  close() {
    this.plane?.close();
  }
}

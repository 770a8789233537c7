/** The card beside the pointer: the item that is there, or what the decoder draws there. */

import { Live } from "../api.js";
import { fill, gauge, h, shown } from "../dom.js";
import { picture, png } from "../pictures.js";

export class HoverCard {
  #now = -2;
  #live;

  /** @param {{snapshot, plane, decodes: () => boolean, map: string}} context */
  constructor({ snapshot, plane, decodes, map }) {
    Object.assign(this, { snapshot, plane, decodes, map });
    this.node = h("div", { className: "hover-card", hidden: true, "aria-hidden": "true" });
    this.#live = new Live(
      (signal, x, y) => snapshot.post("decode", { points: [[x, y]], map }, { signal }),
      (answer) => this.#showDecoded(answer),
      () => this.hide(),
    );
  }

  /** The pointer is at a place of the screen, over point i (-1: none). */
  at(px, py, i) {
    if (i >= 0) {
      this.#live.stop();
      if (i !== this.#now) this.#showItem(i);
      this.#now = i;
      this.#put(px, py);
    } else if (this.decodes()) {
      this.#now = -1;
      this.where = [px, py];
      this.#live.want(...this.plane.toMap(px, py));
      if (!this.node.hidden && this.node.dataset.kind === "decoded") this.#put(px, py);
      else this.node.hidden = true;
    } else this.hide();
  }

  hide() {
    this.#live.stop();
    this.#now = -2;
    this.where = null;
    this.node.hidden = true;
  }

  async #showItem(i) {
    const id = this.plane.ids[i], known = this.plane.points.columns;
    const words = (metadata) => Object.entries(metadata).filter(([name]) => this.snapshot.columns.includes(name) && !/hash/.test(name))
      .slice(0, 6).map(([name, value]) => h("div", {}, h("span", { className: "muted" }, name, " "), shown(value)));
    const box = h("div", { className: "hover-words" }, h("strong", {}, id), words(Object.fromEntries([...known].map(([name, values]) => [name, values[i]]))));
    const frame = h("div", { className: "hover-picture" });
    this.node.dataset.kind = "item";
    fill(this.node, frame, box);
    this.node.hidden = false;
    const [address, item] = await Promise.all([
      this.snapshot.draws ? this.snapshot.pictures.of(id).catch(() => null) : null,
      this.snapshot.item(id).catch(() => null),
    ]);
    if (this.#now !== i) return;
    if (address) fill(frame, picture(address, `Picture of ${id}`, 84));
    if (item) fill(box, h("strong", {}, id), words(item.metadata));
  }

  #showDecoded(answer) {
    if (this.#now !== -1 || !this.where) return;
    this.node.dataset.kind = "decoded";
    fill(this.node, h("div", { className: "hover-picture" }, picture(png(answer.pictures[0]), "What the decoder draws here", 84)),
      h("div", { className: "hover-words" }, h("strong", {}, "decoded here"), gauge(answer.realism?.[0], "realism")));
    this.node.hidden = false;
    this.#put(...this.where);
  }

  #put(px, py) {
    const { offsetWidth: width, offsetHeight: height } = this.node;
    const left = px + 18 + width > this.plane.width ? px - width - 14 : px + 18;
    const top = Math.min(Math.max(6, py - height / 2), this.plane.height - height - 6);
    this.node.style.transform = `translate(${Math.max(4, left)}px, ${top}px)`;
  }
}

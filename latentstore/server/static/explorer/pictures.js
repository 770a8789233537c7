/** Pictures of items: asked for once, in batches where many are wanted; the oldest are forgotten. */

import { getBlob, postJson } from "./api.js";
import { h } from "./dom.js";

const KEPT = 1500;
export const BATCH = 200;

export const png = (base64) => `data:image/png;base64,${base64}`;

/** An <img> of an item or of what was decoded; pixels are shown as they are. */
export function picture(source, words, size = 64) {
  return h("img", { className: "item-picture", src: source, alt: words, width: size, height: size, draggable: false });
}

export class Pictures {
  #kept = new Map(); // id → Promise of an address
  #drawn = new Map(); // id → decoded image, for canvases
  #wanted = new Set();

  /** @param {{path: string, at: (body: Object) => Object, query: string}} snapshot Whose items. */
  constructor(snapshot) {
    this.snapshot = snapshot;
  }

  /** The address of an item's picture. */
  of(id) {
    return this.#kept.get(id) ?? this.#keep(id, getBlob(`${this.snapshot.path}/items/${encodeURIComponent(id)}/image${this.snapshot.query}`).then((blob) => URL.createObjectURL(blob)));
  }

  /** The addresses of many, in their order. */
  async all(ids) {
    const missing = [...new Set(ids.filter((id) => !this.#kept.has(id)))];
    for (let start = 0; start < missing.length; start += BATCH) {
      const part = missing.slice(start, start + BATCH);
      const asked = postJson(`${this.snapshot.path}/pictures`, this.snapshot.at({ ids: part }));
      part.forEach((id, i) => this.#keep(id, asked.then((answer) => png(answer.pictures[i]))));
    }
    return Promise.all(ids.map((id) => this.of(id)));
  }

  /** A decoded image to draw on a canvas, if it is at hand. */
  drawn(id) {
    return this.#drawn.get(id);
  }

  /** Get these ready to be drawn, then say so once. */
  async prepare(ids, ready) {
    const missing = ids.filter((id) => !this.#drawn.has(id) && !this.#wanted.has(id)).slice(0, BATCH);
    if (!missing.length) return;
    missing.forEach((id) => this.#wanted.add(id));
    try {
      const addresses = await this.all(missing);
      await Promise.all(missing.map(async (id, i) => {
        const image = new Image();
        image.src = addresses[i];
        await image.decode();
        this.#drawn.set(id, image);
      }));
      for (const id of this.#drawn.keys()) {
        if (this.#drawn.size <= KEPT) break;
        this.#drawn.delete(id);
      }
    } finally {
      missing.forEach((id) => this.#wanted.delete(id));
    }
    ready();
  }

  #keep(id, address) {
    this.#kept.set(id, address);
    address.catch(() => this.#kept.delete(id));
    for (const [oldest, promise] of this.#kept) {
      if (this.#kept.size <= KEPT) break;
      this.#kept.delete(oldest);
      promise.then((url) => { if (url.startsWith("blob:")) URL.revokeObjectURL(url); }, () => {});
    }
    return address;
  }

  /** Give everything back to the browser. */
  close() {
    for (const promise of this.#kept.values()) promise.then((url) => { if (url.startsWith("blob:")) URL.revokeObjectURL(url); }, () => {});
    this.#kept.clear();
    this.#drawn.clear();
  }
}

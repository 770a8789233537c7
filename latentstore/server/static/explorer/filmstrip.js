/** The frames of a path: side by side, one after the other, as files. */

import { download, fill, gauge, h } from "./dom.js";
import { picture, png } from "./pictures.js";

const PAUSE = 140; // ms a frame is shown

/** @param {{pictures: string[], report: Object}} walk @param {(i: number) => void} chosen Told when a frame is looked at. */
export function filmstrip(walk, chosen, label) {
  const frames = walk.pictures.map((one, i) => h("button", { type: "button", className: "frame", onclick: () => look(i), "aria-label": `Frame ${i + 1} of ${walk.pictures.length}` },
    picture(png(one), "", 84), gauge(walk.report.realism?.[i]), walk.report.labels ? h("span", { className: "muted" }, walk.report.labels[i]) : null));
  const look = (i) => {
    frames.forEach((frame, j) => (i === j ? frame.setAttribute("aria-current", "true") : frame.removeAttribute("aria-current")));
    chosen(i);
  };
  return { node: h("div", { className: "strip", role: "group", "aria-label": label }, frames), look };
}

/** One frame large, with a slider and a play button. */
export class Player {
  #timer = 0;
  #forwards = true;

  constructor(seen) {
    this.seen = seen;
    this.screen = h("div", { className: "screen" });
    this.slider = h("input", { type: "range", min: 0, value: 0, step: 1, "aria-label": "Frame", oninput: () => { this.stop(); this.seen(Number(this.slider.value)); } });
    this.button = h("button", { type: "button", onclick: () => (this.#timer ? this.stop() : this.play()) }, "Play");
    this.place = h("span", { className: "number muted" });
    this.node = h("div", { className: "card" }, this.screen, h("div", { className: "play" }, this.button, this.slider, this.place));
  }

  load(pictures) {
    this.stop();
    this.pictures = pictures;
    this.slider.max = pictures.length - 1;
    this.#forwards = true;
  }

  show(i) {
    this.slider.value = i;
    this.place.textContent = `${i + 1} / ${this.pictures.length}`;
    fill(this.screen, picture(png(this.pictures[i]), `Frame ${i + 1}`, 280));
  }

  play() {
    this.button.textContent = "Stop";
    this.#timer = setInterval(() => {
      if (!this.node.isConnected) return void this.stop();
      const i = Number(this.slider.value), last = this.pictures.length - 1;
      if (i >= last) this.#forwards = false;
      if (i <= 0) this.#forwards = true;
      this.seen(Math.min(last, Math.max(0, i + (this.#forwards ? 1 : -1))));
    }, PAUSE);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.button.textContent = "Play";
  }
}

/** The frames side by side as one PNG, every pixel a square. */
export async function savePng(pictures, name, across = pictures.length) {
  const images = await Promise.all(pictures.map(async (one) => {
    if (!one) return null;
    const image = new Image();
    image.src = png(one);
    await image.decode();
    return image;
  }));
  const first = images.find(Boolean), factor = Math.max(1, Math.ceil(112 / Math.max(first.width, first.height)));
  const [width, height] = [first.width * factor, first.height * factor], gap = 4, canvas = h("canvas", {});
  [canvas.width, canvas.height] = [across * (width + gap) - gap, Math.ceil(images.length / across) * (height + gap) - gap];
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  images.forEach((image, i) => { if (image) context.drawImage(image, (i % across) * (width + gap), Math.floor(i / across) * (height + gap), width, height); });
  download(name, await new Promise((resolve) => canvas.toBlob(resolve, "image/png")));
}

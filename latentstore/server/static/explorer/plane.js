/** A map on a canvas: all points, zoomed and moved, in two or three dimensions. What lies over it is drawn by `marks`. */

import { css, packed } from "./colours.js";
import { h } from "./dom.js";
import { Grid } from "./grid.js";
import { disc, stamp } from "./stamp.js";

const MARGIN = 28; // CSS pixels around a map that is shown whole
const SHELVES = 256;
const PICTURES_BELOW = 900; // points in view that become pictures

export class Plane {
  /**
   * @param {Object} points {ids, xs, ys, zs} of `Snapshot.map`.
   * @param {{label: string, radius?: number, pictures?: Object}} options
   */
  constructor(points, { label, radius = 1, pictures = null }) {
    Object.assign(this, { points, radius, pictures, ids: points.ids, count: points.ids.length });
    this.base = h("canvas", { className: "plane-base", "aria-hidden": "true" });
    this.over = h("canvas", { className: "plane-over", tabIndex: 0, role: "application", "aria-label": label });
    this.node = h("div", { className: "plane" }, this.base, this.over);
    this.solid = points.zs !== null;
    this.turn = { yaw: 0.6, pitch: 0.35 };
    this.marks = [];
    this.mask = null;
    this.codes = null;
    this.table = null;
    this.view = null;
    this.changed = () => {};
    this.#flatten();
    this.#shuffle();
    this.#observer = new ResizeObserver(() => this.resize());
    this.#observer.observe(this.node);
  }

  #observer;
  #frame = 0;
  #stale = true;
  #grid = null;
  #xs = null;
  #ys = null;

  close() {
    this.#observer.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** Three dimensions are turned, then looked at along the third. */
  #flatten() {
    const { xs, ys, zs } = this.points;
    this.#grid = null;
    if (!zs) {
      [this.flatX, this.flatY] = [xs, ys];
      return;
    }
    this.flatX ??= new Float32Array(xs.length);
    this.flatY ??= new Float32Array(xs.length);
    this.depth ??= new Float32Array(xs.length);
    this.middle ??= [xs, ys, zs].map((values) => values.reduce((sum, one) => sum + one, 0) / (values.length || 1));
    this.reach = 0; // from the middle to the farthest point: however it is turned, all is in view
    for (let i = 0; i < xs.length; i++) {
      const [x, y, z] = this.flat(xs[i], ys[i], zs[i]);
      [this.flatX[i], this.flatY[i], this.depth[i]] = [x, y, z];
      this.reach = Math.max(this.reach, x * x + y * y + z * z);
    }
    this.reach = Math.sqrt(this.reach) || 1;
  }

  /** Where a place of the map lies before zooming: itself, or turned. */
  flat(x, y, z) {
    if (!this.solid) return [x, y, 0];
    const { yaw, pitch } = this.turn, [mx, my, mz] = this.middle;
    const a = x - mx, b = y - my, c = (z ?? mz) - mz;
    const across = a * Math.cos(yaw) + c * Math.sin(yaw), away = c * Math.cos(yaw) - a * Math.sin(yaw);
    return [across, b * Math.cos(pitch) - away * Math.sin(pitch), b * Math.sin(pitch) + away * Math.cos(pitch)];
  }

  #shuffle() {
    // Drawn in a fixed random order, so that no class lies on top of all others.
    const order = Int32Array.from({ length: this.count }, (_, i) => i);
    let seed = 12345;
    for (let i = order.length - 1; i > 0; i--) {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      const j = seed % (i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    this.order = order;
  }

  get grid() {
    return (this.#grid ??= new Grid(this.flatX, this.flatY));
  }

  /** Whether the filter lets a point through. */
  shows = (i) => this.mask === null || this.mask[i] === 1;

  colour(codes, table) {
    [this.codes, this.table] = [codes, table];
    this.draw();
  }

  filter(mask) {
    this.mask = mask;
    this.draw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.node, dpr = Math.min(2, devicePixelRatio || 1);
    if (!width || !height) return;
    Object.assign(this, { width, height, dpr });
    for (const canvas of [this.base, this.over]) [canvas.width, canvas.height] = [Math.round(width * dpr), Math.round(height * dpr)];
    this.image = this.base.getContext("2d").createImageData(this.base.width, this.base.height);
    if (!this.view) this.fit();
    this.draw();
  }

  /** The scale at which all points are in view. */
  get whole() {
    if (this.solid) return (Math.min(this.width, this.height) - 2 * MARGIN) / (2 * this.reach);
    const { left, right, low, high } = this.grid;
    return Math.min((this.width - 2 * MARGIN) / (right - left || 1), (this.height - 2 * MARGIN) / (high - low || 1));
  }

  fit() {
    const { left, right, low, high } = this.grid;
    this.view = { ...(this.solid ? { x: 0, y: 0 } : { x: (left + right) / 2, y: (low + high) / 2 }), scale: this.whole };
    this.moved();
  }

  /** Look at a point, as near as now or nearer. */
  centre(i, nearer = 1) {
    this.view = { x: this.flatX[i], y: this.flatY[i], scale: Math.max(this.view?.scale ?? 1, this.whole * nearer) };
    this.moved();
  }

  /** Zoom about a place on the screen. */
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toMap(px, py);
    const scale = Math.min(this.whole * 4000, Math.max(this.whole * 0.4, this.view.scale * factor)), real = scale / this.view.scale;
    this.view = { x: x + (this.view.x - x) / real, y: y + (this.view.y - y) / real, scale };
    this.moved();
  }

  pan(dx, dy) {
    this.view = { ...this.view, x: this.view.x - dx / this.view.scale, y: this.view.y + dy / this.view.scale };
    this.moved();
  }

  rotate(dx, dy) {
    this.turn = { yaw: this.turn.yaw - dx / 150, pitch: Math.max(-1.5, Math.min(1.5, this.turn.pitch + dy / 150)) };
    this.#flatten();
    this.moved();
  }

  moved() {
    this.draw();
    this.changed();
  }

  toMap(px, py) {
    return [this.view.x + (px - this.width / 2) / this.view.scale, this.view.y - (py - this.height / 2) / this.view.scale];
  }

  toScreen(x, y) {
    return [this.width / 2 + (x - this.view.x) * this.view.scale, this.height / 2 - (y - this.view.y) * this.view.scale];
  }

  screenOf(i) {
    return this.toScreen(this.flatX[i], this.flatY[i]);
  }

  /** The point under the pointer, -1 for none. */
  at(px, py, reach = 9) {
    const [x, y] = this.toMap(px, py);
    return this.grid.nearest(x, y, Math.max(reach, this.pictureSize ? this.pictureSize / 2 : 0) / this.view.scale, this.shows);
  }

  draw() {
    this.#stale = true;
    this.drawMarks();
  }

  drawMarks() {
    if (!this.image || this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#stale) this.#paint();
      this.#stale = false;
      const context = this.over.getContext("2d");
      context.setTransform(this.dpr, 0, 0, this.dpr, 0, 0);
      context.clearRect(0, 0, this.width, this.height);
      this.taken = []; // by words: [middle, line, width]
      for (const mark of this.marks) mark(context, this);
    });
  }

  #paint() {
    const { width, height } = this.base, dpr = this.dpr, { x, y, scale } = this.view;
    const paper = packed(css("--paper")), pixels = new Uint32Array(this.image.data.buffer);
    pixels.fill(0xff000000 | paper);
    this.#xs ??= new Float32Array(this.count);
    this.#ys ??= new Float32Array(this.count);
    const factor = scale * dpr, left = width / 2 - x * factor, top = height / 2 + y * factor;
    for (let i = 0; i < this.count; i++) {
      this.#xs[i] = this.flatX[i] * factor + left;
      this.#ys[i] = top - this.flatY[i] * factor;
    }
    const close = scale / this.whole;
    const few = Math.max(1, Math.min(3.2, Math.sqrt(9000 / (this.count + 1))));
    const radius = dpr * Math.min(6, this.radius * few * Math.max(0.75, close ** 0.42));
    const order = this.solid ? this.#byDepth() : this.order, { codes, table, mask } = this;
    const only = table?.length === 1 || !codes ? (table?.[0] ?? packed(css("--point"))) : null;
    const faint = packed(css("--faint"));
    if (mask) stamp(pixels, width, height, this.#xs, this.#ys, order, disc(Math.max(0.6, radius * 0.8), 0.5), (i) => (mask[i] ? -1 : faint));
    const colour = only === null ? (i) => table[codes[i]] : () => only;
    stamp(pixels, width, height, this.#xs, this.#ys, order, disc(radius, 0.75), mask ? (i) => (mask[i] ? colour(i) : -1) : colour);
    const context = this.base.getContext("2d");
    context.putImageData(this.image, 0, 0);
    this.#paintPictures(context);
  }

  /** The farthest first, by as many shelves as the eye can tell. */
  #byDepth() {
    const { depth, order, reach } = this, shelf = (i) => SHELVES - 1 - Math.floor(((depth[i] / reach + 1) / 2) * (SHELVES - 1));
    const starts = new Int32Array(SHELVES + 1), sorted = new Int32Array(order.length);
    for (const i of order) starts[shelf(i) + 1]++;
    for (let s = 0; s < SHELVES; s++) starts[s + 1] += starts[s];
    for (const i of order) sorted[starts[shelf(i)]++] = i;
    return sorted;
  }

  /** Near enough, points become their pictures: one a cell, so that none hides another. */
  #paintPictures(context) {
    this.pictureSize = 0;
    if (!this.pictures?.source || this.solid) return;
    const [left, high] = this.toMap(0, 0), [right, low] = this.toMap(this.width, this.height), seen = [];
    this.grid.each(left, right, low, high, (i) => {
      if (seen.length <= PICTURES_BELOW && this.shows(i)) seen.push(i);
    });
    if (!seen.length || seen.length > PICTURES_BELOW || this.view.scale < 3 * this.whole) return;
    const size = (this.pictureSize = seen.length < 60 ? 56 : 36), taken = new Set(), chosen = [];
    for (const i of seen) {
      const [px, py] = this.screenOf(i), cell = `${Math.round(px / size)},${Math.round(py / size)}`;
      if (px < -size || py < -size || px > this.width + size || py > this.height + size || taken.has(cell)) continue;
      taken.add(cell);
      chosen.push(i);
    }
    const missing = [];
    context.save();
    context.setTransform(this.dpr, 0, 0, this.dpr, 0, 0);
    context.imageSmoothingEnabled = false;
    context.lineWidth = 2;
    for (const i of chosen) {
      const image = this.pictures.source.drawn(this.ids[i]);
      if (!image) {
        missing.push(this.ids[i]);
        continue;
      }
      const [px, py] = this.screenOf(i);
      context.drawImage(image, px - size / 2, py - size / 2, size, size);
      const code = this.table?.[this.codes?.[i] ?? 0] ?? packed(css("--point"));
      context.strokeStyle = `rgb(${code & 255} ${(code >> 8) & 255} ${(code >> 16) & 255})`;
      context.strokeRect(px - size / 2, py - size / 2, size, size);
    }
    context.restore();
    if (missing.length) this.pictures.source.prepare(missing, () => this.draw()).catch(() => { this.pictures.source = null; });
  }
}

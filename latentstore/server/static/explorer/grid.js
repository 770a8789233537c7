/** Points in square cells, so that the one under the pointer is found without looking at all. */

const CELLS = 200; // along the longer side

export class Grid {
  /** @param {Float32Array} xs @param {Float32Array} ys Coordinates of the points. */
  constructor(xs, ys) {
    this.xs = xs;
    this.ys = ys;
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < xs.length; i++) {
      if (xs[i] < left) left = xs[i];
      if (xs[i] > right) right = xs[i];
      if (ys[i] < low) low = ys[i];
      if (ys[i] > high) high = ys[i];
    }
    Object.assign(this, xs.length ? { left, right, low, high } : { left: 0, right: 1, low: 0, high: 1 });
    this.size = Math.max(this.right - this.left, this.high - this.low) / CELLS || 1;
    this.across = Math.floor((this.right - this.left) / this.size) + 1;
    this.down = Math.floor((this.high - this.low) / this.size) + 1;
    const cells = new Int32Array(xs.length), starts = new Int32Array(this.across * this.down + 1);
    for (let i = 0; i < xs.length; i++) {
      cells[i] = this.#row(ys[i]) * this.across + this.#column(xs[i]);
      starts[cells[i] + 1]++;
    }
    for (let c = 0; c < starts.length - 1; c++) starts[c + 1] += starts[c];
    const next = starts.slice();
    this.order = new Int32Array(xs.length);
    for (let i = 0; i < xs.length; i++) this.order[next[cells[i]]++] = i;
    this.starts = starts;
  }

  #column(x) {
    return Math.min(this.across - 1, Math.max(0, Math.floor((x - this.left) / this.size)));
  }

  #row(y) {
    return Math.min(this.down - 1, Math.max(0, Math.floor((y - this.low) / this.size)));
  }

  /** Points of a rectangle, and some around it: calls `see(i)` for each. */
  each(left, right, low, high, see) {
    if (right < this.left || left > this.right || high < this.low || low > this.high) return;
    const first = this.#column(left), last = this.#column(right), bottom = this.#row(low), top = this.#row(high);
    for (let row = bottom; row <= top; row++) {
      const end = this.starts[row * this.across + last + 1];
      for (let at = this.starts[row * this.across + first]; at < end; at++) see(this.order[at]);
    }
  }

  /**
   * The nearest point within a radius, -1 if there is none.
   * @param {(i: number) => boolean} [allowed]
   */
  nearest(x, y, radius, allowed) {
    let found = -1, best = radius * radius;
    this.each(x - radius, x + radius, y - radius, y + radius, (i) => {
      const far = (this.xs[i] - x) ** 2 + (this.ys[i] - y) ** 2;
      if (far <= best && (!allowed || allowed(i))) [found, best] = [i, far];
    });
    return found;
  }

  /** The nearest point in a direction (a quarter of the circle), for the arrow keys. */
  towards(from, dx, dy, allowed) {
    const x = this.xs[from], y = this.ys[from];
    for (let radius = this.size; radius < 4 * CELLS * this.size; radius *= 2) {
      let found = -1, best = radius;
      this.each(x - radius, x + radius, y - radius, y + radius, (i) => {
        const ahead = (this.xs[i] - x) * dx + (this.ys[i] - y) * dy, aside = Math.abs((this.xs[i] - x) * dy - (this.ys[i] - y) * dx);
        if (i === from || ahead <= 0 || aside > ahead || (allowed && !allowed(i))) return;
        const far = Math.hypot(ahead, aside);
        if (far < best) [found, best] = [i, far];
      });
      if (found >= 0) return found;
    }
    return from;
  }
}

/** Pointer, wheel and keyboard on a map. */

const STEP = 60; // CSS pixels that shift and an arrow key move the map
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * @param {Plane} plane
 * @param {{hover, leave, pick, cursor, lasso: (corners, done) => void, lassoing: () => boolean}} on
 *   hover(px, py, i), leave(), pick(i, px, py), cursor(i): moved by keys.
 */
export function listen(plane, on) {
  const node = plane.over, down = new Map();
  let corners = null, travelled = 0, gap = 0, cursor = -1;
  const place = (event) => {
    const box = node.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [a, b] = [...down.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  node.addEventListener("pointerdown", (event) => {
    const at = place(event);
    node.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at);
    travelled = 0;
    if (down.size === 2) gap = spread();
    corners = down.size === 1 && on.lasso && (on.lassoing?.() || event.shiftKey) ? [at] : null;
  });
  node.addEventListener("pointermove", (event) => {
    const at = place(event), before = down.get(event.pointerId);
    if (!before) {
      on.hover?.(...at, plane.at(...at));
      return;
    }
    down.set(event.pointerId, at);
    const dx = at[0] - before[0], dy = at[1] - before[1];
    travelled += Math.hypot(dx, dy);
    if (down.size === 2) {
      const now = spread(), [a, b] = [...down.values()];
      plane.zoom(now / (gap || now), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      gap = now;
    } else if (corners) {
      corners.push(at);
      on.lasso(corners, false);
    } else if (plane.solid && !event.shiftKey && event.buttons === 1) plane.rotate(dx, dy);
    else plane.pan(dx, dy);
    on.leave?.();
  });
  const up = (event) => {
    if (!down.delete(event.pointerId)) return;
    const at = place(event);
    if (corners && corners.length > 2) on.lasso(corners, true);
    else if (event.type === "pointerup" && travelled < 5) on.pick?.((cursor = plane.at(...at, event.pointerType === "touch" ? 18 : 9)), ...at);
    corners = null;
  };
  node.addEventListener("pointerup", up);
  node.addEventListener("pointercancel", up);
  node.addEventListener("pointerleave", () => on.leave?.());
  node.addEventListener("wheel", (event) => {
    event.preventDefault();
    plane.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...place(event));
  }, { passive: false });
  node.addEventListener("dblclick", (event) => plane.zoom(2, ...place(event)));
  node.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (arrow && event.shiftKey) plane.pan(-arrow[0] * STEP, arrow[1] * STEP);
    else if (arrow) {
      cursor = cursor < 0 ? plane.grid.nearest(plane.view.x, plane.view.y, Infinity, plane.shows) : plane.grid.towards(cursor, ...arrow, plane.shows);
      if (cursor < 0) return;
      const [px, py] = plane.screenOf(cursor);
      if (px < 20 || py < 20 || px > plane.width - 20 || py > plane.height - 20) plane.centre(cursor);
      on.cursor?.(cursor);
    } else if (event.key === "+" || event.key === "=") plane.zoom(1.4);
    else if (event.key === "-") plane.zoom(1 / 1.4);
    else if (event.key === "0") plane.fit();
    else if (event.key === "Enter" && cursor >= 0) on.pick?.(cursor, ...plane.screenOf(cursor));
    else if (event.key === "Escape") on.leave?.();
    else return;
    event.preventDefault();
  });
}

/** Whether a place is inside an outline (even-odd rule). */
export function inside(corners, x, y) {
  let within = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
    const [a, b] = corners[i], [c, d] = corners[j];
    if (b > y !== d > y && x < ((c - a) * (y - b)) / (d - b) + a) within = !within;
  }
  return within;
}

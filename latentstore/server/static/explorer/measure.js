/** What can be measured of a snapshot from outside: how well its index finds, and how well its maps keep neighbours. */

import { Grid } from "./grid.js";

const ITEMS = 100, K = 10;

/** The same items each time: spread evenly over all. */
function sample(ids) {
  const step = Math.max(1, ids.length / ITEMS);
  return Array.from({ length: Math.min(ITEMS, ids.length) }, (_, i) => ids[Math.floor(i * step)]);
}

const quoted = (id) => `'${id.replaceAll("'", "''")}'`;

/**
 * Share of the true K nearest that the index finds, and time per query, over 100 items.
 * @returns {Promise<{recall: number, ms: number, exactMs: number, found: Map<string, string[]>}>}
 */
export async function measureIndex(snapshot, ids) {
  const asked = sample(ids), query = asked.map(quoted);
  await snapshot.post("search", { query: query.slice(0, 2), k: K + 1 });
  let began = performance.now();
  const quick = await snapshot.post("search", { query, k: K + 1 });
  const ms = (performance.now() - began) / asked.length;
  began = performance.now();
  const exact = await snapshot.post("search", { query, k: K + 1, recall: 1 });
  const exactMs = (performance.now() - began) / asked.length;
  const found = new Map(asked.map((id, i) => [id, exact.ids[i].filter((one) => one !== id).slice(0, K)])); // itself is no neighbour
  const shares = asked.map((id, i) => found.get(id).filter((one) => quick.ids[i].includes(one)).length / found.get(id).length);
  return { recall: shares.reduce((sum, one) => sum + one, 0) / shares.length, ms, exactMs, found };
}

/** Share of the K nearest of the space that are among the K nearest on the map too, over the same items. */
export function measureMap(points, found) {
  const { xs, ys, zs, ids, place } = points, grid = zs ? null : new Grid(xs, ys);
  let kept = 0, asked = 0;
  for (const [id, truth] of found) {
    const i = place.get(id);
    if (i === undefined) continue;
    const near = new Set(nearestOnMap(i, xs, ys, zs, grid).map((j) => ids[j]));
    kept += truth.filter((one) => near.has(one)).length;
    asked += truth.length;
  }
  return asked ? kept / asked : null;
}

function nearestOnMap(i, xs, ys, zs, grid) {
  const far = (j) => (xs[j] - xs[i]) ** 2 + (ys[j] - ys[i]) ** 2 + (zs ? (zs[j] - zs[i]) ** 2 : 0);
  let near = [];
  if (!grid) near = Array.from(xs.keys()).filter((j) => j !== i);
  for (let radius = grid?.size ?? Infinity; grid && near.length < K && radius < 1e4 * grid.size; radius *= 2) {
    near = [];
    grid.each(xs[i] - radius, xs[i] + radius, ys[i] - radius, ys[i] + radius, (j) => { if (j !== i && far(j) <= radius * radius) near.push(j); });
  }
  return near.sort((a, b) => far(a) - far(b)).slice(0, K);
}

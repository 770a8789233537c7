/** Centroids and attribute arrows of a map: the algebra's points, placed by the service. */

import { centroid, quoted } from "../snapshot.js";

const MOST = 60; // centroids that are named
const AMOUNT = 2; // times an attribute vector: one alone is hardly seen on most maps

/** Places of the centroids, [{at, text}]. */
export async function centroidPlaces(snapshot, map) {
  const labels = snapshot.about.labels.slice(0, MOST);
  if (!labels.length) return [];
  const { points } = await snapshot.post("place", { query: labels.map(centroid), map });
  return labels.map((text, i) => ({ at: points[i], text }));
}

/** Where each attribute leads from an item, or from the middle of the centroids: [{from, to, text}]. */
export async function attributeArrows(snapshot, map, item) {
  const { attributes, labels } = snapshot.about;
  if (!attributes.length || (!item && !labels.length)) return [];
  const few = labels.slice(0, MOST), middle = `${1 / few.length} * (${few.map(centroid).join(" + ")})`;
  const base = item ? quoted(item) : middle;
  const { points } = await snapshot.post("place", { query: [base, ...attributes.map((one) => `${base} + ${AMOUNT} * ${one}`)], map });
  return attributes.map((text, i) => ({ from: points[0], to: points[i + 1], text: `+ ${AMOUNT} ${text.replaceAll("_", " ")}` }));
}

/** Colours of the page's theme, of categories and of numbers. */

// Ten colours that stay apart for colour-blind readers: M. A. Petroff, arXiv:2107.02270 (as in the report).
export const PALETTE = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];
const OTHER = "#8a94a0";
const MOST = 20; // values with a colour of their own

// Viridis at nine places (BSD-licensed colour map of matplotlib; CC0 data).
const RAMP = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** The value of a CSS variable of the page. */
export function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** 0xBBGGRR, as an ImageData's 32-bit pixels have it on little-endian machines. */
export function packed(hex) {
  const [r, g, b] = rgb(hex);
  return (b << 16) | (g << 8) | r;
}

export function ramp(t) {
  const place = Math.min(1, Math.max(0, t)) * (RAMP.length - 1), low = Math.min(RAMP.length - 2, Math.floor(place));
  const a = rgb(RAMP[low]), b = rgb(RAMP[low + 1]);
  return "#" + a.map((x, i) => Math.round(x + (b[i] - x) * (place - low)).toString(16).padStart(2, "0")).join("");
}

/**
 * How a column is coloured.
 * @param {Array} values One per point.
 * @returns {{kind: "categories", entries: {value, text, colour, count}[], codes: Uint16Array} |
 *           {kind: "numbers", low, high, codes: Uint16Array}} Codes index `table(scale)`.
 */
export function scaleOf(values) {
  const numbers = values.every((one) => one === null || typeof one === "number");
  const counts = new Map();
  for (const one of values) counts.set(one, (counts.get(one) ?? 0) + 1);
  if (numbers && counts.size > MOST) return numericScale(values);
  const keys = [...counts.keys()];
  if (numbers) keys.sort((a, b) => (a ?? Infinity) - (b ?? Infinity));
  else keys.sort((a, b) => (counts.size > MOST ? counts.get(b) - counts.get(a) : 0) || String(a).localeCompare(String(b)));
  const own = keys.slice(0, keys.length > MOST ? MOST - 1 : MOST);
  const entries = own.map((value, i) => ({ value, text: value === null ? "(none)" : String(value), colour: colourOf(i), count: counts.get(value) }));
  const place = new Map(own.map((value, i) => [value, i]));
  if (keys.length > own.length) {
    const rest = keys.slice(own.length);
    entries.push({ value: undefined, text: `${rest.length.toLocaleString("en-GB")} other values`, colour: OTHER, count: rest.reduce((sum, one) => sum + counts.get(one), 0) });
  }
  const codes = Uint16Array.from(values, (one) => place.get(one) ?? own.length);
  return { kind: "categories", entries, codes };
}

function colourOf(i) {
  const base = PALETTE[i % PALETTE.length];
  if (i < PALETTE.length) return base;
  return "#" + rgb(base).map((x) => Math.round(x * 0.6).toString(16).padStart(2, "0")).join("");
}

function numericScale(values) {
  let low = Infinity, high = -Infinity;
  for (const one of values) if (one !== null) { low = Math.min(low, one); high = Math.max(high, one); }
  const span = high - low || 1;
  const codes = Uint16Array.from(values, (one) => (one === null ? 256 : Math.round((255 * (one - low)) / span)));
  return { kind: "numbers", low, high, codes };
}

/** The packed colour of each code of a scale. */
export function tableOf(scale) {
  if (!scale) return Int32Array.of(packed(css("--point")));
  if (scale.kind === "categories") return Int32Array.from(scale.entries, (one) => packed(one.colour));
  return Int32Array.from({ length: 257 }, (_, i) => packed(i === 256 ? OTHER : ramp(i / 255)));
}

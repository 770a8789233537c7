/** What is looked at, kept in the address after `#`: a link reopens it. */

const listeners = new Set();
let current = read();

function read() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

/** The state: names to strings. */
export function state() {
  return current;
}

export function get(name, otherwise = "") {
  return current[name] ?? otherwise;
}

/**
 * Change some of it; empty values are dropped.
 * @param {Object} changes Names to values.
 * @param {{push?: boolean, quiet?: boolean}} how push: the back button undoes it; quiet: nobody is told.
 */
export function set(changes, { push = false, quiet = false } = {}) {
  const next = { ...current };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") delete next[name];
    else next[name] = String(value);
  }
  const before = current;
  current = next;
  const hash = "#" + new URLSearchParams(next).toString();
  if (hash !== location.hash) history[push ? "pushState" : "replaceState"](null, "", hash);
  if (!quiet) tell(before);
}

export function onChange(listener) {
  listeners.add(listener);
}

function tell(before) {
  for (const listener of listeners) listener(current, before);
}

/** A link inside the page is told by popstate and by hashchange: the second time nothing has changed. */
function moved() {
  const before = current, now = read();
  if (new URLSearchParams(now).toString() === new URLSearchParams(before).toString()) return;
  current = now;
  tell(before);
}

addEventListener("hashchange", moved);
addEventListener("popstate", moved);

/** The address of this page with some of the state changed. */
export function link(changes) {
  const next = { ...current, ...changes };
  for (const name of Object.keys(next)) if (next[name] === null || next[name] === "") delete next[name];
  return "#" + new URLSearchParams(next).toString();
}

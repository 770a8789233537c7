/** The page: which space and version is looked at, and which view shows it. */

import { getJson, onKeyNeeded, unreachable } from "./api.js";
import { empty, fill, h, problem, select, toast } from "./dom.js";
import { askForKey } from "./keybox.js";
import { Snapshot } from "./snapshot.js";
import { get, link, onChange, set, state } from "./state.js";
import { setUpTheme } from "./theme.js";

const VIEWS = {
  map: ["Map", () => import("./views/map.js").then((room) => room.MapView)],
  item: ["Item", () => import("./views/item.js").then((room) => room.ItemView)],
  path: ["Path", () => import("./views/path.js").then((room) => room.PathView)],
  edit: ["Edit", () => import("./views/edit.js").then((room) => room.EditView)],
  generate: ["Generate", () => import("./views/generate.js").then((room) => room.GenerateView)],
  sql: ["SQL", () => import("./views/sql.js").then((room) => room.SqlView)],
  quality: ["Quality", () => import("./views/quality.js").then((room) => room.QualityView)],
  versions: ["Versions", () => import("./views/versions.js").then((room) => room.VersionsView)],
};
const main = document.getElementById("main");
const session = { groups: { positive: [], negative: [] } }; // what is chosen on one view for another

let spaces = [];
let snapshot = null;
let views = new Map();
let drawn = new WeakSet(); // views that have been updated once, from the whole state
let turn = 0;

const viewName = () => (get("view") in VIEWS ? get("view") : "map");

async function start() {
  try {
    spaces = await getJson("/v1/spaces");
  } catch (error) {
    fill(main, h("div", { className: "page" }, problem(error), h("div", {}, h("button", { type: "button", onclick: start }, "Try again"))));
    return;
  }
  if (!spaces.length) {
    fill(main, empty("This store holds no space yet. Fill it with ", h("code", {}, "latentstore quickstart"), " or ", h("code", {}, "latentstore run CONFIG.toml"), ", then reload."));
    return;
  }
  await show(state(), null);
}

async function show(now, before) {
  const mine = ++turn;
  if (now.space && !spaces.some((one) => one.name === now.space)) {
    fill(main, empty(`This store holds no space “${now.space}”. Look at `, spaces.map((one, i) => [i ? ", " : "", h("a", { href: link({ space: one.name }) }, one.name)]), "."));
    return;
  }
  const name = now.space || spaces[0].name, at = now.at ?? "";
  if (snapshot?.about.name !== name || snapshot.asked !== at) {
    if (!(await open(name, at, () => mine === turn)) || mine !== turn) return;
    now = state();
    before = null;
  }
  tabs();
  const chosen = viewName();
  let view = views.get(chosen);
  if (!view) {
    const View = await VIEWS[chosen][1]().catch((error) => { throw error instanceof TypeError && /modul/i.test(error.message) ? unreachable() : error; }); // it is fetched when it is first opened; every browser says "module" where that failed
    if (mine !== turn) return;
    view = views.get(chosen) ?? new View({ snapshot, session, reload: (version) => set({ at: version }) });
    views.set(chosen, view);
  }
  if (main.firstChild !== view.node || main.childNodes.length !== 1) fill(main, view.node);
  document.title = `${VIEWS[chosen][0]} · ${snapshot.about.name} · latentstore`;
  await view.update(now, drawn.has(view) ? before : null);
  drawn.add(view);
}

/** Swap the snapshot in, if it is still wanted once it is there. */
async function open(name, at, wanted) {
  let opened;
  try {
    opened = await Snapshot.open(name, at);
    if (!wanted()) return false;
  } catch (error) {
    if (wanted()) fill(main, h("div", { className: "page" }, problem(error), at ? h("a", { href: link({ at: null }) }, "Look at the snapshot that is served") : null));
    return false;
  }
  for (const view of views.values()) view.close?.();
  snapshot?.close();
  views = new Map();
  if (snapshot && snapshot.about.name !== name) {
    session.groups = { positive: [], negative: [] };
    set({ item: "", a: "", b: "", c: "", d: "", map: "", colour: "", where: "", box: "", boxof: "", q: "", label: "", old: "", new: "" }, { quiet: true });
  }
  snapshot = opened;
  snapshot.newer = (version) => {
    snapshot.newer = () => {};
    toast(`Version ${version} is served now. `, h("button", { type: "button", onclick: () => location.reload() }, "Look at it"));
  };
  header();
  return true;
}

function header() {
  const { about, asked } = snapshot;
  fill(document.getElementById("space-box"),
    select(spaces.map((one) => one.name), about.name, (space) => set({ space, at: "" }, { push: true }), "Space"),
    h("span", { className: "muted" }, `${about.rows.toLocaleString("en-GB")} items · ${about.dim}-d · ${about.metric} · version ${about.version}`),
    asked ? h("span", { className: "old" }, `looking at ${asked} `, h("a", { href: link({ at: null }) }, "back")) : null);
}

function tabs() {
  const address = (name) => link({ view: name, space: snapshot.about.name });
  // What a view writes into the address meanwhile belongs to the link, too.
  const renew = (event, name) => { event.currentTarget.href = address(name); };
  fill(document.getElementById("tabs"), Object.entries(VIEWS).map(([name, [words]]) =>
    h("a", { href: address(name), onpointerdown: (event) => renew(event, name), onclick: (event) => renew(event, name), "aria-current": name === viewName() ? "page" : null }, words)));
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
onKeyNeeded(askForKey);
onChange((now, before) => show(now, before).catch((error) => fill(main, h("div", { className: "page" }, problem(error)))));
setUpTheme(document.getElementById("theme"), () => views.forEach((view) => view.recolour?.()));
await start();

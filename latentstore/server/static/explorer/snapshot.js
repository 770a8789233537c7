/** One space at one version: what it is, its maps, columns and items. */

import { getJson, postJson } from "./api.js";
import { Pictures } from "./pictures.js";

const HIDDEN = /^(list|fixed_size_list|large_list|struct|map|binary|large_binary)/;

export class Snapshot {
  #maps = new Map();
  #items = new Map();

  /**
   * @param {Object} about The answer of GET /v1/spaces/{space}.
   * @param {string} at The version or tag that was asked for, "" for the one that is served.
   */
  constructor(about, at) {
    this.about = about;
    this.asked = at;
    this.path = `/v1/spaces/${encodeURIComponent(about.name)}`;
    this.query = `?at=${about.version}`; // what is read piece by piece has to be of one version
    this.pictures = new Pictures(this);
    this.columns = Object.entries(about.columns).filter(([, kind]) => !HIDDEN.test(kind)).map(([name]) => name);
    this.colourable = this.columns.filter((name) => !/hash/.test(name));
    this.draws = about.encoder !== null && about.item_shape?.length === 3;
    this.mapNames = Object.keys(about.maps);
  }

  static async open(name, at) {
    const query = at ? `?at=${encodeURIComponent(at)}` : "";
    return new Snapshot(await getJson(`/v1/spaces/${encodeURIComponent(name)}${query}`), at);
  }

  /** A body with the version to answer from, where one was asked for. */
  at(body) {
    if (!this.asked) return body;
    return { ...body, at: /^\d+$/.test(this.asked) ? Number(this.asked) : this.asked };
  }

  async post(route, body, options) {
    const answer = await postJson(`${this.path}/${route}`, this.at(body), options);
    if (!this.asked && answer.version !== undefined && answer.version !== this.about.version) this.newer(answer.version);
    return answer;
  }

  /** Told when the service has moved to another version than the one that was opened. */
  newer = () => {};

  /** The map that is best looked at first. */
  get firstMap() {
    return this.mapNames.find((one) => this.about.maps[one].method !== "pca") ?? this.mapNames[0];
  }

  /**
   * A map, with columns. Loaded once each.
   * @returns {Promise<{name, ids: string[], place: Map, xs: Float32Array, ys: Float32Array, zs: Float32Array|null, columns: Map}>}
   */
  async map(name, columns = []) {
    const known = await once(this.#maps, name, () => this.#load(name, columns));
    await Promise.all(columns.map((one) => once(known.loading, one, async () => {
      const column = await this.#read(name, [one]);
      known.columns.set(one, column(one));
    })));
    return known;
  }

  async #load(name, columns) {
    const column = await this.#read(name, columns), ids = column("id"), zs = column("z");
    return {
      name, ids, xs: Float32Array.from(column("x")), ys: Float32Array.from(column("y")), zs: zs ? Float32Array.from(zs) : null,
      place: new Map(ids.map((id, i) => [id, i])), columns: new Map(columns.map((one) => [one, column(one)])),
      loading: new Map(columns.map((one) => [one, Promise.resolve()])),
    };
  }

  async #read(name, columns) {
    const query = new URLSearchParams({ at: this.about.version, ...(columns.length ? { columns: columns.join(",") } : {}) });
    const found = await getJson(`${this.path}/maps/${encodeURIComponent(name)}?${query}`);
    return (one) => found.columns[found.names.indexOf(one)];
  }

  /** Metadata and latent of an item. */
  item(id) {
    let known = this.#items.get(id);
    if (!known) {
      known = getJson(`${this.path}/items/${encodeURIComponent(id)}${this.query}`);
      known.catch(() => this.#items.delete(id));
      this.#items.set(id, known);
      if (this.#items.size > 500) this.#items.delete(this.#items.keys().next().value);
    }
    return known;
  }

  /** Ids that satisfy a predicate. */
  async matching(where) {
    const query = new URLSearchParams({ where, at: this.about.version });
    return (await getJson(`${this.path}/items?${query}`)).columns[0];
  }

  /** A table route as rows of objects. */
  async table(route, query = this.query) {
    const found = await getJson(`${this.path}/${route}${query}`);
    return (found.columns[0] ?? []).map((_, i) => Object.fromEntries(found.names.map((name, j) => [name, found.columns[j][i]])));
  }

  /** All versions that still exist, whichever is looked at. */
  versions() {
    return this.table("versions", "");
  }

  async someId() {
    const name = this.firstMap;
    const ids = name ? (await this.map(name)).ids : await this.matching("true");
    return ids[Math.floor(Math.random() * ids.length)];
  }

  close() {
    this.pictures.close();
  }
}

/** What is made once for a key, however many ask for it meanwhile; again after a failure. */
function once(kept, key, make) {
  let made = kept.get(key);
  if (!made) {
    made = make();
    kept.set(key, made);
    made.catch(() => kept.delete(key));
  }
  return made;
}

/** An id, a label as the algebra and SQL have it. */
export const quoted = (text) => `'${String(text).replaceAll("'", "''")}'`;
export const centroid = (label) => `centroid(${quoted(label)})`;

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
    this.query = at ? `?at=${encodeURIComponent(at)}` : "";
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
    let known = this.#maps.get(name);
    const missing = columns.filter((one) => !known?.columns.has(one));
    if (known && !missing.length) return known;
    const query = new URLSearchParams(missing.length ? { columns: missing.join(",") } : {});
    if (this.asked) query.set("at", this.asked);
    const found = await getJson(`${this.path}/maps/${encodeURIComponent(name)}?${query}`);
    const column = (one) => found.columns[found.names.indexOf(one)];
    if (!known) {
      const ids = column("id");
      known = {
        name, ids, xs: Float32Array.from(column("x")), ys: Float32Array.from(column("y")),
        zs: found.names.includes("z") ? Float32Array.from(column("z")) : null,
        place: new Map(ids.map((id, i) => [id, i])), columns: new Map(),
      };
      this.#maps.set(name, known);
    }
    for (const one of missing) known.columns.set(one, column(one));
    return known;
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
    const query = new URLSearchParams({ where, ...(this.asked ? { at: this.asked } : {}) });
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

/** An id, a label as the algebra and SQL have it. */
export const quoted = (text) => `'${String(text).replaceAll("'", "''")}'`;
export const centroid = (label) => `centroid(${quoted(label)})`;

/** Asking the service: the key, errors as the service words them, and requests that end earlier ones. */

const KEY = "latentstore-key";

export class Refused extends Error {
  constructor(status, type, message, hint) {
    super(message);
    Object.assign(this, { status, type, hint });
  }
}

export function unreachable() {
  return new Refused(0, "Unreachable", "The service does not answer", "start it again with `latentstore serve`, then reload this page");
}

let askForKey = null;

/** Who shows the key box: an async function of the refusal; false gives up. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

export function keepKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

async function send(method, path, { body, media, signal } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = media ?? "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : media ? body : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (answer.ok) return answer;
  let told = {};
  try {
    told = (await answer.json()).error ?? {};
  } catch { /* not of the service: a proxy's page */ }
  const refusal = new Refused(answer.status, told.type ?? "Error", told.message ?? `The service answered ${answer.status}`, told.hint ?? "");
  if (answer.status === 401 && askForKey && (await askForKey(refusal))) return send(method, path, { body, media, signal });
  throw refusal;
}

export async function getJson(path, options) {
  return (await send("GET", path, options)).json();
}

export async function getBlob(path, options) {
  return (await send("GET", path, options)).blob();
}

export async function postJson(path, body, options) {
  return (await send("POST", path, { ...options, body })).json();
}

export async function postBlob(path, body, options) {
  return (await send("POST", path, { ...options, body })).blob();
}

export async function postFile(path, file, options) {
  return (await send("POST", path, { ...options, body: file, media: file.type || "image/png" })).json();
}

/** Asks one thing at a time: a new request aborts the one before it; the answer of an aborted one is never seen. */
export class Latest {
  #controller = null;

  /** @returns The answer of `ask(signal)`; undefined where a later request took its place. */
  async run(ask) {
    this.#controller?.abort();
    const controller = (this.#controller = new AbortController());
    try {
      const answer = await ask(controller.signal);
      return controller.signal.aborted ? undefined : answer;
    } catch (error) {
      if (controller.signal.aborted || error.name === "AbortError") return undefined;
      throw error;
    }
  }

  stop() {
    this.#controller?.abort();
  }
}

const PATIENCE = 300; // ms that a request may take before a newer one ends it

/**
 * Asks as fast as answers come, always for the newest wish: while one request is under way only the newest of the
 * further wishes is kept, and one that takes too long is aborted for it.
 */
export class Live {
  #latest = new Latest();
  #running = 0; // number of the request under way, 0 for none
  #began = 0;
  #counted = 0;
  #next = null;

  /** @param {(signal: AbortSignal, ...wish) => Promise} ask @param {(answer, ...wish) => void} show @param {(error) => void} fail */
  constructor(ask, show, fail = () => {}) {
    Object.assign(this, { ask, show, fail });
  }

  want(...wish) {
    if (this.#running && performance.now() - this.#began < PATIENCE) {
      this.#next = wish;
      return;
    }
    this.#start(wish);
  }

  async #start(wish) {
    const number = (this.#running = ++this.#counted);
    this.#began = performance.now();
    this.#next = null;
    try {
      const answer = await this.#latest.run((signal) => this.ask(signal, ...wish));
      if (answer !== undefined) this.show(answer, ...wish);
    } catch (error) {
      this.fail(error);
    }
    if (this.#running !== number) return;
    this.#running = 0;
    if (this.#next) this.#start(this.#next);
  }

  stop() {
    this.#next = null;
    this.#running = 0;
    this.#latest.stop();
  }
}

/** The service's OpenAPI document, made readable: routes by room, what they take, what they answer. */

import { fill, h, table } from "./explorer/dom.js";
import { setUpTheme } from "./explorer/theme.js";

const ROOMS = { catalogue: "What there is", queries: "Search and points", walks: "Paths, grids and samples", writes: "Writing", sql: "SQL", health: "Health", pages: "Pages" };

setUpTheme(document.getElementById("theme"));
const routes = document.getElementById("routes");
try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
  draw(await answer.json());
} catch (error) {
  fill(routes, h("div", { className: "problem", role: "alert" }, h("strong", {}, `The document could not be read: ${error.message}`)));
}

function draw(document_) {
  const { info, paths, components } = document_, rooms = new Map(Object.keys(ROOMS).map((room) => [room, []]));
  for (const [path, methods] of Object.entries(paths))
    for (const [method, operation] of Object.entries(methods)) {
      const room = operation.tags[0];
      if (!rooms.has(room)) rooms.set(room, []);
      rooms.get(room).push({ path, method, operation, anchor: `${method}-${path}`.replace(/[^a-z0-9]+/gi, "-") });
    }
  document.getElementById("version").textContent = `API ${info.version}`;
  const filled = [...rooms].filter(([, list]) => list.length);
  fill(document.getElementById("contents"), filled.map(([room, list]) => [h("h2", {}, ROOMS[room] ?? room), list.map((one) =>
    h("a", { href: `#${one.anchor}` }, h("span", { className: `method ${one.method}` }, one.method.toUpperCase()), one.path.replace("/v1/spaces/{space}", "…") || "/"))]));
  fill(routes, h("h1", {}, "HTTP API"), h("p", {}, info.description, " Bodies and answers are JSON; tables also come as Arrow IPC to who accepts ", h("code", {}, "application/vnd.apache.arrow.stream"), "."),
    errors(filled), filled.map(([room, list]) => [h("h2", {}, ROOMS[room] ?? room), list.map((one) => route(one, components.schemas))]));
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

function errors(rooms) {
  const statuses = new Set(rooms.flatMap(([, list]) => list.flatMap((one) => Object.keys(one.operation.responses).filter((status) => status !== "200"))));
  return h("section", { className: "route" }, h("h3", {}, "Refusals"), h("p", {}, "Every answer that is no success says why and what to do, whatever its status (", [...statuses].sort().join(", "), "):"),
    h("pre", {}, '{"error": {"type": "UnknownItem", "message": "…", "hint": "…"}}'));
}

function route({ path, method, operation, anchor }, schemas) {
  const body = operation.requestBody?.content ?? {}, json = body["application/json"]?.schema, uploads = Object.keys(body).filter((one) => one !== "application/json");
  const answers = operation.responses["200"].content;
  return h("article", { className: "route", id: anchor }, h("header", {}, h("span", { className: `method ${method}` }, method.toUpperCase()), h("h3", {}, h("code", {}, path)),
    operation.security.length ? h("span", { className: "hint" }, "needs a key where keys are made") : null), h("p", {}, operation.summary),
  operation.parameters.length ? h("div", {}, h("h4", {}, "In the address"), table(["name", "where", "meaning"], operation.parameters.map((one) => [h("code", {}, one.name), one.in === "path" ? "path" : "after ?", one.description]), "Parameters")) : null,
  json ? fields("Body", json, schemas) : null,
  uploads.length ? h("p", { className: "muted" }, json ? "Or as " : "Body: the file, as ", uploads.join(", ")) : null,
  Object.entries(answers).map(([media, { schema }]) => (media === "application/json" && (schema.$ref ?? schema.items?.$ref) ? fields("Answer", schema, schemas) : h("p", { className: "muted" }, "Answers with ", h("code", {}, media)))));
}

function fields(title, schema, schemas) {
  const of = named(schema.$ref ?? schema.items?.$ref, schemas);
  if (!of?.properties) return null;
  const required = new Set(of.required ?? []);
  return h("div", {}, h("h4", {}, title, schema.items ? ": a list of" : "", of.description ? `: ${of.description.split("\n")[0]}` : ""),
    table(["field", "type", title === "Body" ? "if left out" : ""].filter(Boolean), Object.entries(of.properties).map(([name, one]) =>
      [h("code", {}, name), typeOf(one, schemas), ...(title === "Body" ? [required.has(name) ? "must be given" : JSON.stringify(one.default ?? null)] : [])]), title));
}

function named(reference, schemas) {
  return reference ? schemas[reference.split("/").at(-1)] : null;
}

function typeOf(schema, schemas) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(one, schemas)).join(" or ");
  if (schema.type === "array") return schema.items && Object.keys(schema.items).length ? `list of ${typeOf(schema.items, schemas)}` : "list";
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (Array.isArray(schema.type)) return schema.type.join(" or ");
  return { object: "object", string: "text", integer: "whole number", number: "number", boolean: "true or false", null: "null" }[schema.type] ?? "anything";
}

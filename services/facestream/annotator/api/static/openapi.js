// The API as a page, from its OpenAPI description; nothing is loaded from elsewhere.

import { call } from "./api-client.js";
import "./theme.js";

function el(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

const nameOf = (reference) => reference.split("/").at(-1);

// A type in one word or two: `string`, `list of PersonOut`, `"tcp" or "udp"`.
function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.prefixItems) return `[${schema.prefixItems.map(typeOf).join(", ")}]`;
  if (schema.type === "array") return `list of ${typeOf(schema.items) || "anything"}`;
  return schema.format ?? schema.type ?? "";
}

// Every named schema that a schema leads to, itself included, in order.
function namedIn(schema, all, found = new Map()) {
  if (schema?.$ref && !found.has(nameOf(schema.$ref))) {
    const name = nameOf(schema.$ref);
    found.set(name, all[name]);
    for (const property of Object.values(all[name].properties ?? {})) namedIn(property, all, found);
  }
  for (const inner of [schema?.items, ...(schema?.anyOf ?? []), ...(schema?.prefixItems ?? [])]) {
    if (inner) namedIn(inner, all, found);
  }
  return found;
}

function table(caption, rows) {
  const made = el("table");
  made.append(el("caption", caption));
  for (const [name, type, text] of rows) {
    const row = made.insertRow();
    row.append(el("th", name), el("td", type), el("td", text));
  }
  return made;
}

function fields(name, schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([field, property]) => [field, typeOf(property), property.description ?? ""]);
  return table(name, rows);
}

function operation(method, path, spec, all) {
  const box = el("details", "", "card");
  const head = el("summary");
  head.append(el("strong", method.toUpperCase()), el("code", path));
  box.append(head);
  if (spec.parameters?.length) {
    box.append(table("Parameters", spec.parameters.map((p) => [p.name, typeOf(p.schema), p.description ?? p.schema.description ?? ""])));
  }
  const named = new Map();
  const body = spec.requestBody?.content["application/json"]?.schema;
  if (body) {
    box.append(el("p", `Body: ${typeOf(body)}`));
    namedIn(body, all, named);
  } else if (spec.requestBody) {
    box.append(el("p", `Body: ${Object.keys(spec.requestBody.content).join(", ")}`));
  }
  for (const [status, answer] of Object.entries(spec.responses)) {
    if (status === "422") continue; // every call that is given something may answer it
    const schema = answer.content?.["application/json"]?.schema;
    const kind = schema ? typeOf(schema) : Object.keys(answer.content ?? {}).join(", ");
    box.append(el("p", `${status}: ${kind || answer.description}`));
    if (schema) namedIn(schema, all, named);
  }
  for (const [name, schema] of named) if (schema.properties) box.append(fields(name, schema));
  return box;
}

const spec = await call("GET", "/api/openapi.json");
const place = document.getElementById("paths");
for (const [path, methods] of Object.entries(spec.paths)) {
  for (const [method, one] of Object.entries(methods)) {
    place.append(operation(method, path, one, spec.components.schemas));
  }
}

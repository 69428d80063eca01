// API reference page, rendered from the OpenAPI description; loads nothing from elsewhere.

import { callApi } from "./api-client.js";
import "./theme.js";

function element(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

const schemaName = (reference) => reference.split("/").at(-1);

// Describe a type in a few words: `string`, `list of Person`, `"tcp" or "udp"`.
function describeType(schema) {
  if (!schema) return "";
  if (schema.$ref) return schemaName(schema.$ref);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.anyOf) return schema.anyOf.map(describeType).join(" or ");
  if (schema.prefixItems) return `[${schema.prefixItems.map(describeType).join(", ")}]`;
  if (schema.type === "array") return `list of ${describeType(schema.items) || "anything"}`;
  return schema.format ?? schema.type ?? "";
}

// Collect every named schema that a schema refers to, itself included, in order.
function collectSchemas(schema, components, found = new Map()) {
  if (schema?.$ref && !found.has(schemaName(schema.$ref))) {
    const name = schemaName(schema.$ref);
    found.set(name, components[name]);
    for (const property of Object.values(components[name].properties ?? {})) collectSchemas(property, components, found);
  }
  for (const inner of [schema?.items, ...(schema?.anyOf ?? []), ...(schema?.prefixItems ?? [])]) {
    if (inner) collectSchemas(inner, components, found);
  }
  return found;
}

function table(caption, rows) {
  const node = element("table");
  node.append(element("caption", caption));
  for (const [name, type, text] of rows) {
    const row = node.insertRow();
    row.append(element("th", name), element("td", type), element("td", text));
  }
  return node;
}

function propertyTable(name, schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([field, property]) => [field, describeType(property), property.description ?? ""]);
  return table(name, rows);
}

function operation(method, path, spec, components) {
  const details = element("details", "", "card");
  const summary = element("summary");
  summary.append(element("strong", method.toUpperCase()), element("code", path));
  details.append(summary);
  if (spec.parameters?.length) {
    details.append(table("Parameters", spec.parameters.map((p) => [p.name, describeType(p.schema), p.description ?? p.schema.description ?? ""])));
  }
  const schemas = new Map();
  const body = spec.requestBody?.content["application/json"]?.schema;
  if (body) {
    details.append(element("p", `Body: ${describeType(body)}`));
    collectSchemas(body, components, schemas);
  } else if (spec.requestBody) {
    details.append(element("p", `Body: ${Object.keys(spec.requestBody.content).join(", ")}`));
  }
  for (const [status, response] of Object.entries(spec.responses)) {
    if (status === "422") continue; // every operation with input has it
    const schema = response.content?.["application/json"]?.schema;
    const kind = schema ? describeType(schema) : Object.keys(response.content ?? {}).join(", ");
    details.append(element("p", `${status}: ${kind || response.description}`));
    if (schema) collectSchemas(schema, components, schemas);
  }
  for (const [name, schema] of schemas) if (schema.properties) details.append(propertyTable(name, schema));
  return details;
}

const spec = await callApi("GET", "/api/openapi.json");
const container = document.getElementById("operations");
for (const [path, methods] of Object.entries(spec.paths)) {
  for (const [method, item] of Object.entries(methods)) {
    container.append(operation(method, path, item, spec.components.schemas));
  }
}

// Shows /openapi.json: groups, operations, and what each takes and answers. Text only ever becomes text nodes.

const $ = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// A schema in a few words; names of components stand for themselves until they are opened by `inside`.
function shape(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.oneOf) return schema.oneOf.map(shape).join(" or ");
  if (schema.allOf) return schema.allOf.map(shape).filter(Boolean).join(" with ");
  if (schema.type === "array") return `[${shape(schema.items)}]`;
  if (schema.properties) {
    return `{ ${Object.entries(schema.properties).map(([name, of]) => `${name}: ${shape(of)}`).join(", ")} }`;
  }
  return [].concat(schema.type ?? "any").join(" or ");
}

function inside(api, schema) {
  const name = schema?.$ref?.split("/").pop();
  return name ? `${name} ${shape(api.components.schemas[name])}` : shape(schema);
}

function table(title, rows) {
  if (!rows.length) return [];
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  return [element("h2", { textContent: title }), element("table", {}, element("tbody", {}, ...body))];
}

const code = (text) => element("code", { textContent: text });
const must = (required) => (required ? "required" : "");

function operation(api, path, method, told) {
  const json = told.requestBody?.content?.["application/json"]?.schema;
  const fields = Object.entries(json?.properties ?? {}).map(([name, of]) => [
    code(name), shape(of), must(json.required?.includes(name)), of.description ?? "",
  ]);
  const asked = (told.parameters ?? []).map((p) => [
    code(p.name), `${p.in}: ${shape(p.schema)}`, must(p.required), p.description ?? "",
  ]);
  const answers = Object.entries(told.responses).map(([status, found]) => {
    const answer = found.$ref ? api.components.responses[found.$ref.split("/").pop()] : found;
    const [type, content] = Object.entries(answer.content ?? {})[0] ?? ["", {}];
    const text = status < 400 ? `${type}  ${inside(api, content.schema)}` : answer.description;
    return [code(status), element("pre", { textContent: text })];
  });
  const line = element("summary", {},
    element("span", { className: `method ${method.toUpperCase()}`, textContent: method.toUpperCase() }),
    code(path), element("span", { textContent: told.summary }));
  const details = element("details", { id: told.operationId }, line,
    element("p", { textContent: told.description ?? "" }),
    ...table("Parameters", asked), ...table("Body: JSON or form", fields), ...table("Answers", answers));
  details.dataset.words = `${method} ${path} ${told.summary} ${told.description ?? ""}`.toLowerCase();
  return details;
}

function show(api) {
  $("about").textContent = `${api.info.version}. ${api.info.description}`;
  const groups = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, told] of Object.entries(item)) {
      const group = told.tags[0];
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(operation(api, path, method, told));
    }
  }
  const sections = [...groups].sort().map(([name, list]) =>
    element("section", {}, element("h2", { textContent: name }), ...list));
  $("groups").replaceChildren(...sections);
}

$("find").addEventListener("input", (event) => {
  const word = event.target.value.trim().toLowerCase();
  for (const one of document.querySelectorAll("details")) one.hidden = !one.dataset.words.includes(word);
});

try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  show(await answer.json());
} catch (error) {
  $("about").textContent = `The document could not be read: ${error.message}. Reload the page.`;
}

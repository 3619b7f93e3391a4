// "Use by API": the last call as a curl command and as Python lines without any package.

import { address, hasKey, pictureType } from "./api.js";
import { copyButton } from "./copy.js";
import { byId, element } from "./dom.js";
import { say } from "./words.js";

/** Shows a call. */
export function showUsage(call) {
  byId("usage").hidden = call === null;
  if (call === null) return;
  const [curl, python] = [asCurl(call), asPython(call)];
  byId("usage-body").replaceChildren(
    element("p", { class: "quiet" }, say.usageHelp, " ", element("code", {}, `POST ${call.route}`), ". ", hasKey() ? say.usageKey : null),
    ...block("curl", curl, say.copyCurl),
    ...block("Python", python, say.copyPython),
  );
}

function block(title, code, description) {
  return [
    element("div", { class: "code-head" }, element("h3", {}, title), copyButton(say.copy, description, code)),
    element("pre", { lang: "en", translate: "no" }, element("code", {}, code)),
  ];
}

/** A word of a shell's command. */
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
/** Python reads what JSON writes, of texts, numbers and lists. */
const literal = (value) => (Array.isArray(value) ? `[${value.map(literal).join(", ")}]` : JSON.stringify(value));

export function asCurl(call) {
  const lines = [`curl ${quoted(location.origin + address(call))}`];
  if (hasKey()) lines.push(`-H "authorization: Bearer $MPLUG_API_KEY"`);
  if (call.fields === null) {
    lines.push(`-H ${quoted(`content-type: ${pictureType(call.file)}`)}`, `--data-binary ${quoted(`@${call.file.name}`)}`);
  } else {
    // In quotes of its own, a name may have the characters that curl reads as options.
    lines.push(`-F ${quoted(`image=@"${call.file.name.replaceAll(/["\\]/g, "\\$&")}"`)}`);
    for (const [name, value] of call.fields) {
      for (const one of [value].flat()) lines.push(`--form-string ${quoted(`${name}=${one}`)}`);
    }
  }
  return lines.join(" \\\n  ");
}

export function asPython(call) {
  const isForm = call.fields !== null;
  const modules = [isForm ? "base64" : null, "json", hasKey() ? "os" : null, "pathlib", "urllib.request"].filter(Boolean);
  const type = isForm ? "application/json" : pictureType(call.file);
  return [
    `import ${modules.join(", ")}`,
    "",
    `picture = pathlib.Path(${literal(call.file.name)}).read_bytes()`,
    ...(isForm ? pythonBody(call.fields) : ["body = picture"]),
    "request = urllib.request.Request(",
    `    ${literal(location.origin + address(call))},`,
    "    body,",
    `    {"content-type": ${literal(type)}${hasKey() ? `, "authorization": "Bearer " + os.environ["MPLUG_API_KEY"]` : ""}},`,
    ")",
    "print(json.load(urllib.request.urlopen(request)))",
  ].join("\n");
}

function pythonBody(fields) {
  return [
    "body = json.dumps({",
    '    "image": base64.b64encode(picture).decode(),',
    ...fields.map(([name, value]) => `    ${literal(name)}: ${literal(value)},`),
    "}).encode()",
  ];
}

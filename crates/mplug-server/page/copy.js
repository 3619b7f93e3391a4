// What a caption is copied as.

import { byId, button } from "./dom.js";
import { say } from "./words.js";

/** The attribute `alt`, ready to stand in HTML. */
export function asAlt(caption) {
  const escaped = caption.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
  return `alt="${escaped}"`;
}

/** A picture in Markdown. */
export function asMarkdown(caption, name) {
  const text = caption.replace(/[\\[\]]/g, "\\$&");
  return `![${text}](${encodeURI(name).replaceAll("(", "%28").replaceAll(")", "%29")})`;
}

/** A button that copies a text and says so. */
export function copyButton(label, description, text) {
  const made = button(label, async () => {
    const done = (await copy(text)) ? say.copied : say.notCopied;
    byId("announcement").textContent = done;
    rename(made, done, done);
    setTimeout(() => rename(made, label, description), 1500);
  }, { class: "small", "aria-label": description });
  return made;
}

function rename(made, label, description) {
  made.textContent = label;
  made.setAttribute("aria-label", description);
}

/** Browsers give the clipboard to secure pages only. A server in the local network has plain HTTP: there the old way is left. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const focused = document.activeElement;
    const field = document.createElement("textarea");
    field.className = "visually-hidden";
    field.value = text;
    document.body.append(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    focused?.focus();
    return isCopied;
  }
}

// Elements made without markup: texts of the server and of people are never read as HTML.

/** Finds an element of the page by its id. */
export const byId = (id) => document.getElementById(id);

/**
 * Makes an element. A property that is a function becomes a listener, `true` an empty attribute, and null, undefined or
 * false is left out. Children are nodes or texts.
 */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** A button that submits nothing. */
export function button(label, click, properties = {}) {
  return element("button", { type: "button", click, ...properties }, label);
}

// The compare box: how well several texts describe the picture.

import { matchCall, send } from "./api.js";
import { byId, element } from "./dom.js";
import { failure } from "./failure.js";
import { nameFor, ofTask } from "./models.js";
import { languageOf, say, share } from "./words.js";

/** Shows the box for a picture, if a model scores texts. */
export function showCompare(picture) {
  byId("compare").hidden = ofTask("match").length === 0 || picture === null || picture.isUnreadable;
  if (byId("compare").hidden) return;
  byId("texts-captions").disabled = !picture.captions?.some((one) => one.caption);
  byId("comparison").replaceChildren(...(picture.comparison ? [comparison(picture.comparison)] : []));
}

/** The texts of the box: lines that are not empty. */
export const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** Adds a picture's captions to the texts, each once. */
export function putCaptionsIn(picture) {
  const captions = picture.captions.map((one) => one.caption).filter(Boolean);
  byId("texts").value = [...new Set([...lines(byId("texts").value), ...captions])].join("\n");
}

/** Sends the texts. `changed` is called when the picture has news. */
export async function compare(picture, texts, changed) {
  const { signal } = picture;
  const entry = { texts, scores: null, failure: null, again: () => compare(picture, texts, changed) };
  picture.comparison = entry;
  picture.call = matchCall(picture.file, texts, nameFor(ofTask("match")[0]));
  changed(picture);
  try {
    entry.scores = (await send(picture.call, signal)).results[0].scores;
  } catch (error) {
    if (!signal.aborted) entry.failure = error;
    else if (picture.comparison === entry) picture.comparison = null;
  }
  changed(picture);
}

function comparison({ texts, scores, failure: error, again }) {
  if (error) return failure(say.failed.compare, error, again);
  if (scores === null) return element("p", { class: "waiting" }, say.comparing);
  const order = [...texts.keys()].sort((a, b) => scores[b] - scores[a]);
  return element("div", {},
    element("ol", { class: "bars" }, ...order.map((index) => bar(texts[index], scores[index]))),
    element("p", { class: "quiet" }, say.comparisonHelp));
}

function bar(text, score) {
  const filled = element("span", { class: "bar-filled" });
  filled.style.width = `${100 * score}%`; // The policy forbids style attributes in markup, not this.
  return element("li", {},
    element("span", { class: "bar-text", lang: languageOf(text) }, text),
    element("span", { class: "bar-number" }, share(score)),
    element("span", { class: "bar", "aria-hidden": "true" }, filled));
}

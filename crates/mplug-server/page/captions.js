// The captions: a column for each language, with words as buttons, doubts, candidates, keywords and what can be copied.

import { asAlt, asMarkdown, copyButton } from "./copy.js";
import { byId, element } from "./dom.js";
import { failure } from "./failure.js";
import { captionCount, isReady } from "./models.js";
import { languageOf, ownName, say, scoreText, share, sureness } from "./words.js";

/** Below this probability of the matching model a caption is marked as doubtful. */
const DOUBT = 0.5;

/** Shows a picture's captions, or that they are awaited, or why there are none. `again` reads the picture once more. */
export function showCaptions(picture, again) {
  const shown = byId("captions");
  shown.hidden = picture === null;
  if (picture === null) return;
  shown.setAttribute("aria-busy", String(picture.captions === null && picture.failure === null));
  if (isReady() && captionCount() === 0) shown.replaceChildren(element("p", { class: "quiet" }, say.noCaptionModel));
  else if (picture.failure) shown.replaceChildren(failure(say.failed.captions, picture.failure, again));
  else if (picture.captions === null) shown.replaceChildren(skeleton());
  else shown.replaceChildren(columns(picture), element("p", { class: "hint quiet" }, say.lookingHint), times(picture));
}

/** The language in which a caption is tagged. */
export const languageOfCaption = (one) => one.language ?? languageOf(one.caption);

function skeleton() {
  const line = () => element("span", { class: "skeleton-line" });
  const column = () => element("div", { class: "caption skeleton", "aria-hidden": "true" }, line(), line(), line());
  return element("div", { class: "columns" }, ...Array.from({ length: Math.max(1, captionCount()) }, column));
}

function columns(picture) {
  const parts = picture.captions.map((one, index) => (one.error ? refused(one) : column(picture, one, index)));
  return element("div", { class: "columns" }, ...parts);
}

function refused({ error }) {
  const words = element("p", { class: "server-words", lang: "en" }, error.message, " ", element("code", {}, error.code));
  return element("div", { class: "caption" }, element("div", { class: "failure" }, element("strong", {}, say.failed.captions), words));
}

function column(picture, one, index) {
  const language = languageOfCaption(one);
  return element("article", { class: "caption" },
    element("div", { class: "caption-head" }, element("h2", { lang: language }, ownName(language)), sure(one.score)),
    explained(one, index),
    typeof one.match === "number" ? match(one.match) : null,
    copies(one.caption, picture.file.name),
    one.tags?.length ? tags(one.tags, language) : null,
    one.captions?.length > 1 ? candidates(one.captions.slice(1), language) : null);
}

function sure(score) {
  const { level, text } = sureness(score);
  const number = scoreText(score);
  return element("span", { class: `sure ${level}`, title: say.scoreHelp(number) }, `${text} · ${number}`);
}

/** Puts news about a caption's words into its column, and leaves the rest as it is: focus, open lists. */
export function refreshWords(picture, one) {
  const index = picture.captions.indexOf(one);
  byId("captions").querySelector(`[data-explained="${index}"]`)?.replaceWith(explained(one, index));
}

function explained(one, index) {
  return element("div", { "data-explained": index },
    sentence(one, index, languageOfCaption(one)),
    one.explainFailure ? failure(say.failed.explain, one.explainFailure, one.explainAgain) : null);
}

/** The caption: its words are buttons as soon as their maps are there, text until then. */
function sentence(one, index, language) {
  const shown = element("p", { class: "sentence", lang: language });
  if (!one.attention) {
    shown.append(one.caption);
    return shown;
  }
  shown.setAttribute("role", "group");
  shown.setAttribute("aria-label", say.wordsOf(language));
  // The server counts code points, strings here count UTF-16 units.
  const points = Array.from(one.caption);
  let at = 0;
  one.attention.words.forEach((word, number) => {
    shown.append(points.slice(at, word.start).join(""), wordButton(word, index, number));
    at = word.end;
  });
  shown.append(points.slice(at).join(""));
  return shown;
}

/** One stop of the Tab key for each sentence: the arrow keys do the rest. */
function wordButton(word, caption, number) {
  return element("button", {
    type: "button",
    class: "word",
    "aria-pressed": "false",
    tabindex: number === 0 ? "0" : "-1",
    "data-caption": caption,
    "data-word": number,
  }, word.text);
}

function match(probability) {
  const doubt = probability < DOUBT ? element("strong", { class: "doubt" }, ` ${say.doubtful}`) : null;
  return element("p", { class: "match quiet" }, say.match(share(probability)), doubt);
}

function copies(caption, name) {
  return element("div", { class: "copies" },
    copyButton(say.copy, say.copyTextOf, caption),
    copyButton('alt=""', say.copyAltOf, asAlt(caption)),
    copyButton("Markdown", say.copyMarkdownOf, asMarkdown(caption, name)));
}

function tags(list, language) {
  const items = list.map(({ tag, weight }) =>
    element("li", {}, element("span", { lang: language }, tag), " ", element("span", { class: "number" }, weight.toFixed(2))));
  return element("ul", { class: "tags", "aria-label": say.tags }, ...items);
}

function candidates(list, language) {
  const items = list.map(({ caption, score }) =>
    element("li", {}, element("span", { lang: language }, caption), " ", sure(score)));
  return element("details", { class: "candidates" },
    element("summary", {}, say.others(list.length)), element("ol", { start: 2 }, ...items));
}

function times({ time, models }) {
  const seconds = (value) => value.toFixed(value < 0.1 ? 3 : 2);
  const spent = say.time(seconds(time.queue), seconds(time.decode), seconds(time.model));
  return element("p", { class: "times quiet" }, element("span", { class: "model" }, models.join(", ")), ` · ${spent}`);
}

/** Reads the captions out, each in its own voice. */
export function announce(picture) {
  const sentences = picture.captions.filter((one) => one.caption).map((one) => {
    const language = languageOfCaption(one);
    return element("p", {}, `${say.captionOf(language)}: `, element("span", { lang: language }, one.caption));
  });
  byId("announcement").replaceChildren(...sentences);
}

// Where a word stands: the map over the picture, and what the word loses without it.

import { explainCall, send } from "./api.js";
import { languageOfCaption } from "./captions.js";
import { byId, element } from "./dom.js";
import { failure } from "./failure.js";
import { drawDeletion, drawVeil, largest, place } from "./maps.js";
import { say, share, smallShare } from "./words.js";

/** How long a word is pointed at before its effect is measured: that takes the server seconds, and a pointer passes many words. */
const DWELL = 300;
/** A loss below this many nats shows nothing: 5 % of a probability. */
const NOTHING = 0.05;

let picture = null;
/** `{caption, word}` as numbers: what was chosen by focus or tap, and what the pointer is at. */
let chosen = null;
let pointed = null;
let dwelling = 0;

const shownChoice = () => pointed ?? chosen;
const isSame = (a, b) => a?.caption === b?.caption && a?.word === b?.word;

/** Shows the panel for a picture, without a word. */
export function lookAt(newPicture) {
  picture = newPicture;
  chosen = null;
  pointed = null;
  clearTimeout(dwelling);
  showLooking();
}

/** Shows the chosen word's map and figures. Without a word there is no panel. */
export function showLooking() {
  const choice = shownChoice();
  byId("looking").hidden = choice === null;
  byId("map").hidden = choice === null;
  markWords(choice);
  if (choice !== null) showWord(picture.captions[choice.caption], choice.word);
}

function markWords(choice) {
  for (const button of document.querySelectorAll(".word")) {
    button.setAttribute("aria-pressed", String(isSame(choiceOf(button), choice)));
  }
}

const choiceOf = (button) => ({ caption: Number(button.dataset.caption), word: Number(button.dataset.word) });

function showWord(one, number) {
  const looked = one.attention.words[number];
  const needed = one.ablation?.words[number];
  const language = languageOfCaption(one);
  byId("looking-word").textContent = looked.text;
  byId("looking-word").lang = language;
  byId("looking-sure").textContent = say.sureOfWord(share(Math.exp(looked.log_prob)));
  const what = showMap(one, looked, needed);
  byId("looking-where").textContent = what;
  byId("map").setAttribute("aria-label", say.mapOf(looked.text, what));
  byId("looking-measured").replaceChildren(measured(one, needed));
  if (!one.ablation && !one.measuring && !one.measureFailure) measureSoon(one);
}

/** Draws the map that is switched to, and says in words where it is bright. Until the measure is there, attention stands in. */
function showMap(one, looked, needed) {
  const wanted = document.querySelector("input[name=view]:checked").value;
  const isMeasured = wanted !== "looked" && needed !== undefined;
  const { map } = isMeasured ? needed : looked;
  const { grid } = isMeasured ? one.ablation : one.attention;
  const [row, column] = place(map, grid);
  const where = say.places[row][column];
  if (wanted === "without") drawDeletion(byId("map"), map, grid);
  else drawVeil(byId("map"), map, grid, byId("veil").value / 100);
  byId("looking").classList.toggle("is-deletion", wanted === "without");
  byId("looking-most").textContent = isMeasured ? say.mostNats(largest(map).toFixed(2)) : say.mostAttention(smallShare(largest(map)));
  if (wanted === "without") return say.without(looked.text, where);
  return isMeasured ? say.needs(looked.text, where) : say.looked(looked.text, where);
}

/** The effect in words. */
function measured(one, word) {
  if (one.measureFailure) return failure(say.failed.measure, one.measureFailure, () => measure(picture, one));
  if (word === undefined) return element("span", { class: "waiting" }, say.measuring);
  const [from, to] = [Math.exp(word.log_prob), Math.exp(word.log_prob - word.most_lost)].map(share);
  // A number that is missing says nothing.
  if (!(word.most_lost >= NOTHING) || from === to) return document.createTextNode(say.stays(word.text, from));
  return document.createTextNode(say.falls(word.text, from, to));
}

function measureSoon(one) {
  clearTimeout(dwelling);
  const ofPicture = picture;
  dwelling = setTimeout(() => measure(ofPicture, one), DWELL);
}

/** Measures all words of a caption at once. */
async function measure(ofPicture, one) {
  const { signal } = ofPicture;
  one.measuring = true;
  one.measureFailure = null;
  try {
    one.ablation = await explain(ofPicture, one, "ablation", signal);
  } catch (error) {
    if (!signal.aborted) one.measureFailure = error;
  }
  one.measuring = false;
  if (picture === ofPicture) showLooking();
}

/** Gets where the model looked, for every caption of a picture. `changed` is called with each caption that has news. */
export async function explainAll(ofPicture, changed) {
  const { signal } = ofPicture;
  for (const one of ofPicture.captions) {
    if (one.caption && !one.attention && !signal.aborted) await explainOne(ofPicture, one, changed);
  }
}

async function explainOne(ofPicture, one, changed) {
  const { signal } = ofPicture;
  one.explainFailure = null;
  one.explainAgain = () => explainOne(ofPicture, one, changed);
  try {
    one.attention = await explain(ofPicture, one, "attention", signal);
  } catch (error) {
    if (signal.aborted) return;
    one.explainFailure = error;
  }
  changed(ofPicture, one);
}

async function explain(ofPicture, { caption, language, model }, method, signal) {
  const reply = await send(explainCall(ofPicture.file, { caption, language, method, model }), signal);
  return reply.results?.[0] ?? reply;
}

/** Makes a word the chosen one. Its button becomes its sentence's stop of the Tab key. */
function choose(button) {
  const choice = choiceOf(button);
  for (const other of button.parentElement.querySelectorAll(".word")) other.tabIndex = other === button ? 0 : -1;
  pointed = null;
  if (isSame(chosen, choice)) return showLooking();
  chosen = choice;
  showLooking();
}

/** Takes the map away. The focus stays where it is. */
export function clear() {
  lookAt(picture);
}

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** Where a key leads from a word, through the words of all captions in their order; undefined for other keys. */
function target(key, button) {
  const words = [...document.querySelectorAll(".word")];
  if (key === "Home") return words[0];
  if (key === "End") return words.at(-1);
  const step = STEPS[key];
  return step && words[(words.indexOf(button) + step + words.length) % words.length];
}

function onKey(event) {
  const button = event.target.closest(".word");
  const next = button && target(event.key, button);
  if (!next || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  next.focus();
}

/** Connects the words, the switches and the keys, once. */
export function startLooking() {
  const words = byId("captions");
  const ofWord = (act) => (event) => {
    const button = event.target.closest?.(".word");
    if (button) act(button);
  };
  words.addEventListener("focusin", ofWord(choose));
  words.addEventListener("click", ofWord(choose));
  words.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse") return;
    const button = event.target.closest(".word");
    const choice = button ? choiceOf(button) : null;
    if (isSame(pointed, choice)) return;
    pointed = choice;
    clearTimeout(dwelling);
    showLooking();
  });
  words.addEventListener("pointerleave", () => {
    pointed = null;
    showLooking();
  });
  words.addEventListener("keydown", onKey);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shownChoice() !== null) clear();
  });
  byId("looking-clear").addEventListener("click", () => {
    // The button is about to vanish: the focus goes back to the word.
    document.querySelector(".word[aria-pressed=true]")?.focus({ preventScroll: true });
    clear();
  });
  byId("veil").addEventListener("input", () => {
    byId("veil-value").textContent = `${byId("veil").value} %`;
    showLooking();
  });
  for (const choice of document.querySelectorAll("input[name=view]")) choice.addEventListener("change", showLooking);
}

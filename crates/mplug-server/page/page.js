// The page of `mplug serve`: brings pictures in, has them read, and shows what is known of the current one.

import { captionCall, onMissingKey, send, ServerError, useKey } from "./api.js";
import { ask, showAsk, showSuggestions } from "./ask.js";
import { announce, languageOfCaption, refreshWords, showCaptions } from "./captions.js";
import { compare, lines, putCaptionsIn, showCompare } from "./compare.js";
import { button, byId, element } from "./dom.js";
import { failure } from "./failure.js";
import { explainAll, lookAt, showLooking, startLooking } from "./looking.js";
import { all, captionPlan, isReady, loadModels, ofTask } from "./models.js";
import { named, Picture } from "./picture.js";
import { remember, showRecent } from "./recent.js";
import { showUsage } from "./usage.js";
import { interfaceLanguage, preferredLanguage, rememberLanguage, say, useLanguage } from "./words.js";

const EXAMPLES = ["cat", "dog", "cars", "fish"];
const CANDIDATES = 5;
const KEYWORDS = 8;

let current = null;

// ---- the server ----

/** Loads the list of models, and then reads a picture that was brought in before it was there. */
async function start() {
  try {
    await loadModels();
  } catch (error) {
    return showNoModels(error);
  }
  hideKey();
  byId("server-notice").replaceChildren();
  showServer();
  showSuggestions();
  showAll();
  if (current !== null && current.captions === null) read(current);
}

function showNoModels(error) {
  if (error.status === 401) return; // The field for the key says it.
  byId("server-notice").replaceChildren(failure(say.failed.models, error, start));
  if (error.code === "loading") setTimeout(start, 1000 * (error.retryAfter ?? 2));
}

/** Shows the field for the API key. A wrong key comes back here with the server's words. */
function requestKey(error) {
  byId("key").hidden = false;
  byId("key-message").textContent = error.message;
  byId("key-value").focus();
}

function hideKey() {
  const hadFocus = byId("key").contains(document.activeElement);
  byId("key").hidden = true;
  if (hadFocus) byId("results").focus({ preventScroll: true });
}

function showServer() {
  const isDemo = ofTask("caption").some((model) => model.is_demo);
  byId("demo").hidden = !isDemo;
  byId("demo").replaceChildren(say.demo, " ", element("code", {}, "mplug serve --model caption-base-zh"));
  const { host, hostname } = location;
  const isHere = hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
  byId("privacy").textContent = isHere ? say.privacyHere(host) : say.privacyThere(host);
  byId("models").textContent = all().length === 0 ? "" : `${say.models} ${all().map(described).join(" · ")}`;
}

function described({ id, languages, precision }) {
  const details = [languages?.join(", "), precision].filter(Boolean).join("; ");
  return details ? `${id} (${details})` : id;
}

// ---- the current picture ----

/** Brings files in. One picture is read at a time. */
function bring(files) {
  const [file] = files;
  byId("server-notice").replaceChildren(...(files.length > 1 ? [element("p", { class: "note" }, say.onlyFirst(files.length))] : []));
  const picture = new Picture(named(file));
  remember(picture);
  show(picture);
}

/** Makes a picture the current one. What runs for the previous one ends. */
function show(picture) {
  if (picture === current) return;
  current?.stop();
  current = picture;
  byId("announcement").textContent = "";
  lookAt(picture);
  showStage();
  showAll();
  bringIntoSight();
  if (picture.captions === null) read(picture);
  else explainAll(picture, wordsChanged);
}

/** Has a picture captioned, and then its words explained. */
async function read(picture) {
  if (!isReady()) return;
  const { signal } = picture;
  picture.failure = null;
  picture.captions = null;
  changed(picture);
  byId("announcement").textContent = say.reading(picture.file.name);
  try {
    await caption(picture, signal);
  } catch (error) {
    if (signal.aborted) return;
    picture.failure = error;
  }
  if (signal.aborted) return; // The reply came, but another picture is shown by now: its words are explained when it is shown again.
  changed(picture);
  if (picture.captions === null) return;
  announce(picture);
  explainAll(picture, wordsChanged);
}

async function caption(picture, signal) {
  const check = ofTask("match").length > 0;
  const [captions, time, models] = [[], { queue: 0, decode: 0, model: 0 }, []];
  for (const { model, languages } of captionPlan()) {
    const call = captionCall(picture.file, { model, languages, captions: CANDIDATES, tags: KEYWORDS, check });
    picture.call = call;
    const reply = await send(call, signal);
    captions.push(...captionsOf(reply).map((one) => ({ ...one, model })));
    models.push(reply.model);
    for (const stage of Object.keys(time)) time[stage] += reply.time[stage];
  }
  Object.assign(picture, { captions, time, models });
}

/** A caption for each language of a reply about one picture. */
function captionsOf({ results: [result] }) {
  return result.languages ?? [result];
}

/** Shows all that is known of a picture, if it is the one on the page. */
function changed(picture) {
  if (picture === current) showAll();
}

function answersChanged(picture) {
  if (picture !== current) return;
  showAsk(picture);
  showUsage(picture.call);
}

function comparisonChanged(picture) {
  if (picture !== current) return;
  showCompare(picture);
  showUsage(picture.call);
}

function wordsChanged(picture, one) {
  if (picture !== current) return;
  refreshWords(picture, one);
  showLooking();
}

function showAll() {
  byId("welcome").hidden = current !== null;
  showCaptions(current, () => read(current));
  showLooking();
  showAsk(current);
  showCompare(current);
  showUsage(current?.call ?? null);
  showRecent(current, show);
  describePicture();
}

// ---- the stage ----

function showStage() {
  const { file, address } = current;
  const stage = byId("stage");
  const image = byId("picture");
  stage.classList.remove("is-empty");
  stage.querySelector(".frame").hidden = false;
  stage.querySelector(".no-preview").hidden = true;
  byId("name").textContent = `${file.name} · ${size(file.size)}`;
  image.onload = () => {
    stage.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
    byId("name").textContent = `${file.name} · ${image.naturalWidth} × ${image.naturalHeight} · ${size(file.size)}`;
  };
  image.onerror = () => {
    stage.querySelector(".frame").hidden = true;
    stage.querySelector(".no-preview").hidden = false;
  };
  image.src = address;
}

/** On a small screen a new picture would be below its edge, or above it where somebody had read on. */
function bringIntoSight() {
  const stage = byId("stage");
  const { top } = stage.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 3) stage.scrollIntoView();
}

const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** The picture's own alternative text is its caption, in the interface's language where there is one. */
function describePicture() {
  const captions = current?.captions?.filter((one) => one.caption) ?? [];
  const one = captions.find((caption) => languageOfCaption(caption) === interfaceLanguage) ?? captions[0];
  byId("picture").alt = one?.caption ?? current?.file.name ?? "";
  byId("picture").lang = one ? languageOfCaption(one) : "";
}

// ---- ways in ----

function startFiles() {
  for (const id of ["file", "camera"]) {
    byId(id).addEventListener("change", ({ target }) => {
      if (target.files.length > 0) bring([...target.files]);
      target.value = ""; // The same file can be chosen again.
    });
  }
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length === 0) return; // A text goes where it is pasted.
    event.preventDefault();
    bring(files);
  });
}

function startDrop() {
  const sign = byId("drop-sign");
  const hasFiles = (event) => event.dataTransfer.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (isTextField(event.target) && !hasFiles(event)) return;
    event.preventDefault();
    sign.hidden = !hasFiles(event);
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) sign.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    sign.hidden = true;
    if (isTextField(event.target) && !hasFiles(event)) return;
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    if (files.length > 0) bring(files);
    else byId("server-notice").replaceChildren(element("p", { class: "note" }, say.noPicture));
  });
}

const isTextField = (target) => target instanceof HTMLElement && target.matches("input, textarea");

function showExamples() {
  byId("examples").replaceChildren(...EXAMPLES.map((name) => {
    const image = element("img", { src: `/examples/${name}.jpg`, alt: "", width: 64, height: 64 });
    return element("li", {}, button(image, () => bringExample(name), { class: "thumbnail", "aria-label": say.example[name] }));
  }));
}

async function bringExample(name) {
  const reply = await fetch(`/examples/${name}.jpg`).catch(() => null);
  if (!reply?.ok) {
    const error = new ServerError(reply?.status ?? 0);
    return byId("server-notice").replaceChildren(failure(say.failed.example, error, () => bringExample(name)));
  }
  bring([new File([await reply.blob()], `${name}.jpg`, { type: "image/jpeg" })]);
}

// ---- forms and languages ----

function startForms() {
  byId("ask-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const question = byId("question").value.trim();
    if (question) ask(current, question, answersChanged);
  });
  byId("compare-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const texts = lines(byId("texts").value);
    if (texts.length > 0) compare(current, texts, comparisonChanged);
  });
  byId("texts-captions").addEventListener("click", () => putCaptionsIn(current));
  byId("key").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey(byId("key-value").value.trim());
    start();
  });
}

function speak(language) {
  useLanguage(language);
  showServer();
  showExamples();
  showSuggestions();
  showAll();
}

function startLanguages() {
  for (const choice of document.querySelectorAll("[data-language]")) {
    choice.addEventListener("click", () => {
      rememberLanguage(choice.dataset.language);
      speak(choice.dataset.language);
    });
  }
}

onMissingKey(requestKey);
startFiles();
startDrop();
startForms();
startLanguages();
startLooking();
speak(preferredLanguage());
start();

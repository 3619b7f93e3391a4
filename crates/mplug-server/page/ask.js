// The question box.

import { askCall, send } from "./api.js";
import { byId, button, element } from "./dom.js";
import { failure } from "./failure.js";
import { nameFor, ofTask } from "./models.js";
import { languageOf, say, scoreText, suggestedQuestions, sureness } from "./words.js";

/** Shows the box for a picture, if a model answers questions. */
export function showAsk(picture) {
  const [model] = ofTask("ask");
  byId("ask").hidden = !model || picture === null || picture.isUnreadable;
  if (byId("ask").hidden) return;
  byId("answers").replaceChildren(...picture.answers.map(answer));
}

/** Shows the suggested questions: apart from the answers, so that a clicked one keeps the focus. */
export function showSuggestions() {
  const [model] = ofTask("ask");
  const questions = model ? suggestedQuestions(model) : [];
  byId("suggestions").replaceChildren(...questions.map(suggestion));
}

function suggestion(question) {
  const put = () => {
    byId("question").value = question;
    byId("ask-form").requestSubmit();
  };
  return element("li", {}, button(question, put, { class: "small", lang: languageOf(question) }));
}

/** Sends a question. `changed` is called when the picture has news. */
export async function ask(picture, question, changed) {
  const entry = { question, results: null, failure: null, again: null };
  entry.again = () => answerTo(picture, entry, changed);
  picture.answers.unshift(entry);
  await entry.again();
}

async function answerTo(picture, entry, changed) {
  const { signal } = picture;
  entry.failure = null;
  picture.call = askCall(picture.file, entry.question, nameFor(ofTask("ask")[0]));
  changed(picture);
  try {
    const [result] = (await send(picture.call, signal)).results;
    entry.results = result.answers ?? [result];
  } catch (error) {
    if (signal.aborted) picture.answers = picture.answers.filter((other) => other !== entry);
    else entry.failure = error;
  }
  changed(picture);
}

function answer(entry) {
  const { question, results } = entry;
  const shown = element("div", { class: "answer" }, element("p", { class: "quiet", lang: languageOf(question) }, question));
  if (entry.failure) {
    shown.append(failure(say.failed.ask, entry.failure, entry.again));
  } else if (results === null) {
    shown.append(element("p", { class: "waiting" }, say.asking));
  } else {
    const [best, ...others] = results;
    shown.append(element("p", { class: "answer-text" },
      element("strong", { lang: languageOf(best.answer) }, best.answer), " ", sure(best)));
    if (others.length > 0) shown.append(element("p", { class: "quiet" }, ...others.flatMap(other)));
  }
  return shown;
}

function sure({ score }) {
  const { level, text } = sureness(score);
  return element("span", { class: `sure ${level}`, title: say.scoreHelp(scoreText(score)) }, `${text} · ${scoreText(score)}`);
}

function other({ answer: text, score }, index) {
  return [index > 0 ? " · " : "", element("span", { lang: languageOf(text) }, text), ` ${scoreText(score)}`];
}

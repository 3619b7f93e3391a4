// An error beside what failed: in the server's words, with the way to try again.

import { ServerError } from "./api.js";
import { button, byId, element } from "./dom.js";
import { say } from "./words.js";

/** Errors of these states pass: trying the same again may work. */
const PASSING = new Set([0, 401, 408, 429, 500, 502, 503, 504]);

/**
 * Shows an error. `again` repeats what failed; its button waits as long as the server's `retry-after` says.
 */
export function failure(title, error, again) {
  if (!(error instanceof ServerError)) console.error(error); // A fault of this page, or a reply of another shape.
  const shown = element("div", { class: "failure" }, element("strong", {}, title), words(error));
  if (again && PASSING.has(error.status)) shown.append(againButton(again, error));
  return shown;
}

function words(error) {
  if (error.message) {
    const code = error.code ? element("code", {}, `${error.status} ${error.code}`) : null;
    return element("p", { class: "server-words", lang: "en" }, error.message, " ", code);
  }
  return element("p", {}, error.status === 0 ? say.unreachable : say.unexpected(error.status));
}

function againButton(again, error) {
  const made = button(say.again, () => {
    byId("results").focus({ preventScroll: true }); // The button vanishes: without this the focus would fall to the page's top.
    again();
  });
  waitFor(made, error);
  return made;
}

/** Counts the seconds down on the button. The moment is kept with the error, so that showing it anew does not begin anew. */
function waitFor(made, error) {
  if (error.retryAfter === null) return;
  error.readyAt ??= Date.now() + 1000 * error.retryAfter;
  const tick = () => {
    const seconds = Math.ceil((error.readyAt - Date.now()) / 1000);
    made.disabled = seconds > 0;
    made.textContent = seconds > 0 ? say.againIn(seconds) : say.again;
    if (seconds > 0) setTimeout(tick, 250);
  };
  tick();
}

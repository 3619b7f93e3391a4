// Which of the loaded models does what.

import { models as load } from "./api.js";

let loaded = [];

let areLoaded = false;

/** Gets the list from the server. */
export async function loadModels() {
  loaded = await load();
  areLoaded = true;
}

export const isReady = () => areLoaded;
export const all = () => loaded;
export const ofTask = (task) => loaded.filter((model) => model.task === task);

/** A model's name for a request: none where there is nothing to choose. */
export const nameFor = (model) => (ofTask(model.task).length > 1 ? model.id : null);

/**
 * The requests that caption a picture in every language: one request to a model that has all languages, which reads the
 * picture once, or else one for each model that adds a language.
 */
export function captionPlan() {
  const captioners = ofTask("caption");
  const languages = new Set(captioners.flatMap((model) => model.languages));
  const whole = captioners.find((model) => model.languages.length === languages.size);
  // A model that does not name its languages writes in the one that it has.
  if (whole) return [{ model: nameFor(whole), languages: [...whole.languages] }];
  const missing = new Set(languages);
  const plan = [];
  for (const model of captioners) {
    const added = model.languages.filter((language) => missing.delete(language));
    if (added.length > 0) plan.push({ model: nameFor(model), languages: added });
  }
  return plan;
}

/** How many captions a picture gets. */
export const captionCount = () => captionPlan().reduce((sum, part) => sum + Math.max(1, part.languages.length), 0);

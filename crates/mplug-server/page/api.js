// What is sent to the server, and what its errors are. A call is data, so that `usage.js` can write the same call as a command.

const keyMemory = "mplug.key";
let key = recallKey();

function recallKey() {
  try {
    return sessionStorage.getItem(keyMemory);
  } catch {
    return null; // Without storage the key lives as long as the page.
  }
}

export const hasKey = () => key !== null;

/** Keeps the API key for this tab. */
export function useKey(value) {
  key = value;
  try {
    sessionStorage.setItem(keyMemory, value);
  } catch {
    // See `recallKey`.
  }
}

let missingKey = () => {};

/** Has a function called with each error that says that the key is missing or wrong. */
export function onMissingKey(listener) {
  missingKey = listener;
}

/** An error in the server's own words, or with a status alone (0 if there was no reply). */
export class ServerError extends Error {
  constructor(status, { message = "", code = "" } = {}, retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/**
 * A call that sends the bytes of a picture as they are, with its options in the address: what `curl --data-binary` does.
 * Options that are null are left out.
 */
export function captionCall(file, { model, languages, captions, tags, check }) {
  const options = { model, language: languages.join(",") || null, captions, tags, check: check ? "true" : null };
  return { route: "/v1/caption", file, query: present(options), fields: null };
}

export const askCall = (file, question, model) => formCall("/v1/ask", file, { question, answers: 3, model });
export const matchCall = (file, texts, model) => formCall("/v1/match", file, { texts, model });
export const explainCall = (file, { caption, language, method, model }) =>
  formCall("/v1/explain", file, { caption, language, method, model });

function formCall(route, file, fields) {
  return { route, file, query: [], fields: present(fields) };
}

/** Pairs of what is given. */
function present(options) {
  return Object.entries(options).filter(([, value]) => value !== null && value !== undefined);
}

/** Path and query of a call. Commas stay readable. */
export function address(call) {
  const query = call.query.map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&");
  return call.route + (query && `?${query}`);
}

/** The type of a picture's bytes. A system that does not know a file's type leaves it empty; the server looks at the bytes. */
export const pictureType = (file) => file.type || "application/octet-stream";

function body(call) {
  if (call.fields === null) return { data: call.file, headers: { "content-type": pictureType(call.file) } };
  const form = new FormData();
  form.append("image", call.file, call.file.name);
  for (const [name, value] of call.fields) {
    for (const one of [value].flat()) form.append(name, one);
  }
  return { data: form, headers: {} };
}

/** Sends a call; gives its reply, or throws a `ServerError`, or an `AbortError` if the signal fires. */
export function send(call, signal) {
  const { data, headers } = body(call);
  return request(address(call), { method: "POST", body: data, headers, signal });
}

/** The models that the server has loaded. */
export async function models() {
  return (await request("/v1/models", {})).data;
}

async function request(path, { headers = {}, ...options }) {
  const authorization = key === null ? {} : { authorization: `Bearer ${key}` };
  let reply;
  try {
    reply = await fetch(path, { ...options, headers: { ...headers, ...authorization } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, { code: "unreachable" });
  }
  const read = await reply.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return null;
  });
  if (reply.ok && read !== null) return read;
  const seconds = Number.parseInt(reply.headers.get("retry-after") ?? "", 10);
  const error = new ServerError(reply.status, read?.error, Number.isNaN(seconds) ? null : seconds);
  if (reply.status === 401) missingKey(error);
  throw error;
}

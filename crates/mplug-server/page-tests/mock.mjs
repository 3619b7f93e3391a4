// A server that speaks the API with made-up, always equal answers. By hand: `node mock.mjs --port 8081`, with
// `--key KEY`, `--languages zh`, `--tasks caption`, `--slow MS`, `--fail 429` to see the page in these states.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const PAGE = fileURLToPath(new URL("../page/", import.meta.url));
const POLICY =
  "default-src 'none'; img-src 'self' blob: data:; script-src 'self'; style-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".jpg": "image/jpeg",
};
const GRID = 8;

/** What is said of pictures. Which of them, their bytes decide: so that the examples get what is true of them. */
const SCENES = [
  { zh: ["一个月亮", "下面", "有", "一只", "橙色", "的", "猫"], en: ["the", "moon", "is", "above", "an", "orange", "cat"] },
  { zh: ["一条", "橙色", "的", "鱼", "在", "水", "里"], en: ["an", "orange", "fish", "in", "the", "water"] },
  { zh: ["一栋", "红色", "的", "房子", "旁边", "有", "一只", "狗"], en: ["a", "dog", "is", "beside", "a", "red", "house"] },
  { zh: ["草地", "上", "有", "三辆", "红色", "的", "汽车"], en: ["there", "are", "three", "red", "cars", "on", "the", "grass"] },
];
const text = (scene, language) => SCENES[scene][language].join(language === "zh" ? "" : " ");
const sceneOf = (bytes) => bytes.reduce((sum, byte) => (sum * 37 + byte) % 4093, 7) % SCENES.length;

class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

/** The captions of a picture. `bytes` is what was sent of it. */
function caption(bytes, options) {
  const scene = sceneOf(bytes);
  const written = (language) => ({
    language,
    caption: text(scene, language),
    score: language === "zh" ? -0.46 : -0.66,
    captions: [-0.46, -0.73, -1.84].map((score, index) => ({ caption: text((scene + index) % SCENES.length, language), score })),
    tags: SCENES[scene][language].filter((word) => word !== "的").slice(-2).map((tag, index) => ({ tag, weight: 0.9 - 0.3 * index })),
    ...(options.check === "true" ? { match: language === "zh" ? 0.93 : 0.41 } : {}),
  });
  const all = (options.language || "zh").split(",").map(written);
  return all.length > 1 ? { ...all[0], languages: all } : all[0];
}

/** Maps with one bright spot each, at a place that the word's number decides. */
function explain({ caption: sentence, language, method }) {
  const words = language === "en" ? sentence.split(" ") : SCENES.find((scene) => scene.zh.join("") === sentence).zh;
  let at = 0;
  const explained = words.map((word, number) => {
    const start = [...sentence.slice(0, sentence.indexOf(word, at))].length;
    at = sentence.indexOf(word, at) + word.length;
    const shown = { text: word, start, end: start + [...word].length, log_prob: -0.07 - 0.05 * number, map: spot(number, method) };
    return method === "attention" ? shown : { ...shown, most_lost: number % 3 === 2 ? 0.01 : 2.05 };
  });
  return { caption: sentence, language, method, grid: [GRID, GRID], words: explained };
}

function spot(number, method) {
  const [row, column] = [(3 * number + 1) % GRID, (5 * number + 2 + (method === "attention" ? 0 : 1)) % GRID];
  const scale = method === "attention" ? 0.11 : 1.7;
  const value = (patch) => {
    const distance = (Math.floor(patch / GRID) - row) ** 2 + ((patch % GRID) - column) ** 2;
    return scale * Math.exp(-distance / 3);
  };
  return Array.from({ length: GRID * GRID }, (_, patch) => value(patch));
}

/** A request's picture and fields, whichever of the three ways it came. */
async function read(request, query, body) {
  const type = request.headers["content-type"] ?? "";
  if (type.startsWith("image/") || type === "application/octet-stream") return { bytes: body, ...Object.fromEntries(query) };
  if (type === "application/json") {
    const { image, ...fields } = JSON.parse(body);
    return { bytes: Buffer.from(image, "base64"), ...fields };
  }
  const form = await new Response(body, { headers: { "content-type": type } }).formData();
  return { ...Object.fromEntries(form), bytes: Buffer.from(await form.get("image").arrayBuffer()), texts: form.getAll("texts") };
}

/** Answers one request of the API. */
async function answer(route, request, query, body, settings) {
  const model = (task) => ({
    id: `demo-${task}`, object: "model", created: 0, owned_by: "mplug", task, languages: task === "caption" ? settings.languages : ["zh", "en"],
    is_demo: true, image_size: 128, precision: "int8",
  });
  if (route === "/v1/models") return { object: "list", data: settings.tasks.map(model) };
  const { bytes, ...options } = await read(request, query, body);
  if (![0xff, 0x89].includes(bytes[0])) throw new Refusal(422, "unreadable_picture", "expected a picture, found bytes of no known format");
  const results = {
    "/v1/caption": () => caption(bytes, options),
    "/v1/ask": () => ({ answer: "猫", score: -0.2, answers: [{ answer: "猫", score: -0.2 }, { answer: "狗", score: -1.9 }] }),
    "/v1/match": () => ({ scores: options.texts.map((_, index) => [0.0003, 0.76, 0.41][index % 3]) }),
    "/v1/explain": () => explain(options),
  }[route];
  if (!results) throw new Refusal(404, "not_found", `expected a route of the API, found ${route}`);
  return { id: "mock-1", model: `demo-${route.slice(4)}`, results: [results()], time: { queue: 0.0004, decode: 0.0021, model: 0.183 } };
}

async function api(request, url, settings) {
  if (settings.key && request.headers.authorization !== `Bearer ${settings.key}`) {
    throw new Refusal(401, "invalid_api_key", "expected an API key in the header authorization, found none or a wrong one");
  }
  const parts = [];
  for await (const part of request) parts.push(part);
  if (url.pathname !== "/v1/models") {
    await new Promise((resolve) => setTimeout(resolve, settings.slow));
    if (settings.fail) throw new Refusal(settings.fail, settings.fail === 429 ? "overloaded" : "unreadable_picture", "made to fail by --fail");
  }
  return answer(url.pathname, request, url.searchParams, Buffer.concat(parts), settings);
}

async function file(path) {
  const found = normalize(path === "/" ? "/index.html" : path);
  const body = await readFile(join(PAGE, found)).catch(() => null);
  if (body === null) throw new Refusal(404, "not_found", `expected a file of the page, found ${path}`);
  return { body, type: TYPES[extname(found)] ?? "application/octet-stream" };
}

async function reply(request, response, settings) {
  const url = new URL(request.url, "http://mock");
  response.setHeader("content-security-policy", POLICY);
  response.setHeader("x-content-type-options", "nosniff");
  response.setHeader("x-request-id", "mock");
  try {
    if (url.pathname.startsWith("/v1/")) {
      const body = JSON.stringify(await api(request, url, settings));
      response.setHeader("content-type", "application/json").end(body);
    } else {
      const { body, type } = await file(url.pathname);
      response.setHeader("content-type", type).end(body);
    }
  } catch (error) {
    response.statusCode = error.status ?? 500;
    if (response.statusCode === 429) response.setHeader("retry-after", "2");
    const { message, code = "internal" } = error;
    response.setHeader("content-type", "application/json").end(JSON.stringify({ error: { message, type: "error", param: null, code } }));
  }
}

/** Starts the server; gives its address and the way to end it. */
export async function startMock({ port = 0, key = null, languages = ["zh", "en"], tasks = ["caption", "ask", "match"], slow = 0, fail = 0 } = {}) {
  const server = createServer((request, response) => reply(request, response, { key, languages, tasks, slow, fail }));
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  const stop = () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  return { address: `http://127.0.0.1:${server.address().port}`, stop };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = { type: "string" };
  const { values } = parseArgs({ options: { port: text, key: text, languages: text, tasks: text, slow: text, fail: text } });
  const { address } = await startMock({
    port: Number(values.port ?? 8081),
    key: values.key ?? null,
    ...(values.languages ? { languages: values.languages.split(",") } : {}),
    ...(values.tasks ? { tasks: values.tasks.split(",") } : {}),
    slow: Number(values.slow ?? 0),
    fail: Number(values.fail ?? 0),
  });
  console.log(address);
}

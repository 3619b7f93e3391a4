// The page in a browser: see README.md.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { axeViolations, drop, ELSEWHERE, isWide, open, paste, pixels, ready, startBrowser } from "./browser.mjs";
import { startMock } from "./mock.mjs";

const run = promisify(execFile);
const PAGE = new URL("../page/", import.meta.url);
const { MPLUG_URL, MPLUG_SHOTS } = process.env;
let browser;
let mock;
let address;

before(async () => {
  browser = await startBrowser();
  mock = await startMock();
  address = MPLUG_URL ? new URL(MPLUG_URL).origin : mock.address;
});

after(async () => {
  await browser?.close();
  await mock?.stop();
});

/** Runs a test on a fresh page, and holds that nothing untoward happened on it. */
function on(name, options, act) {
  test(name, async () => {
    const { at = () => address, ...context } = options;
    const { page, troubles, close } = await open(browser, at(), context);
    try {
      await act(page, troubles);
      assert.deepEqual(troubles, []);
    } finally {
      await close();
    }
  });
}

async function shot(page, name) {
  if (!MPLUG_SHOTS) return;
  await mkdir(MPLUG_SHOTS, { recursive: true });
  await page.screenshot({ path: `${MPLUG_SHOTS}/${name}.png`, caret: "initial", animations: "allow" });
}

/** Keeps requests waiting, the first `count` of them, until the returned function is called. */
async function hold(page, address, count = Infinity) {
  let resume;
  let seen = 0;
  const held = new Promise((resolve) => (resume = resolve));
  await page.route(address, async (route) => {
    seen += 1;
    if (seen <= count) await held;
    await route.continue().catch(() => {}); // The page may have ended the request by then.
  });
  return resume;
}

const focused = (page) => page.evaluate(() => document.activeElement.textContent);
const texts = (page, selector) => page.locator(selector).allTextContents();

/** Tabs until an element of a class has the focus, as somebody without a mouse does. */
async function tabTo(page, name) {
  for (let count = 0; count < 60; count += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((wanted) => document.activeElement.classList.contains(wanted), name)) return;
  }
  assert.fail(`expected .${name} within 60 stops of Tab`);
}

on("a dropped picture gets its captions", {}, async (page) => {
  await shot(page, "empty");
  assert.deepEqual(await axeViolations(page), []);
  await drop(page, "cat.jpg");
  assert.equal(await page.locator("#picture").getAttribute("src").then((src) => src.startsWith("blob:")), true);
  await ready(page);
  assert.deepEqual(await page.locator(".sentence").evaluateAll((all) => all.map((one) => one.lang)), ["zh", "en"]);
  const [zh, en] = await texts(page, ".sentence");
  assert.match(zh, /\p{Script=Han}/u);
  assert.match(en, /^[\w ,]+$/);
  assert.ok((await page.locator("#announcement").textContent()).includes(zh), "the caption is read out");
  assert.equal(await page.locator("#picture").getAttribute("alt"), en);
  assert.match(await page.locator(".times").textContent(), /demo-caption.*queue .* s .*decoding .* s .*model .* s/);
  assert.match(await page.locator("#demo").textContent(), /Demo model/);
  assert.match(await page.locator("#privacy").textContent(), /Nothing leaves this machine \(127\.0\.0\.1:\d+\)/);
  assert.deepEqual(await axeViolations(page), []);
  await page.locator(".candidates summary").first().click();
  assert.ok((await page.locator(".candidates li").count()) >= 2);
  assert.match(await page.locator(".match").first().textContent(), /[<>\d\s]+% likely to be true/);
});

on("a pasted picture gets its captions", {}, async (page) => {
  await paste(page, "cars.jpg");
  await ready(page);
  assert.match(await page.locator("#name").textContent(), /^cars\.jpg · \d+ × \d+ · \d+ kB$/);
});

on("a chosen picture gets its captions", {}, async (page) => {
  await page.locator("#file").setInputFiles(new URL("examples/dog.jpg", PAGE).pathname);
  await ready(page);
});

on("the bytes that are sent are the file's", {}, async (page) => {
  const sent = page.waitForRequest((request) => request.url().includes("/v1/caption"));
  await page.locator("#examples button").first().click();
  const request = await sent;
  assert.equal(request.postDataBuffer().length, (await stat(new URL("examples/cat.jpg", PAGE))).size);
  assert.equal(request.headers()["content-type"], "image/jpeg");
  await ready(page);
});

on("a word reached by Tab shows its map, arrows go on, Escape clears", {}, async (page) => {
  await page.locator("#examples button").first().click();
  await ready(page);
  await page.waitForTimeout(300);
  const bare = await pixels(page);
  await tabTo(page, "word");
  const words = await texts(page, ".word");
  assert.equal(await focused(page), words[0]);
  const first = await pixels(page);
  assert.notDeepEqual(first, bare, "the map is over the picture");
  assert.match(await page.locator("#map").getAttribute("aria-label"), new RegExp(`“${words[0]}”.*looked mostly`));
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  assert.equal(await focused(page), words[2]);
  assert.equal(await page.locator(".word[aria-pressed=true]").textContent(), words[2]);
  assert.notDeepEqual(await pixels(page), first);
  await page.locator("#looking-measured").filter({ hasText: /falls from|stays at/ }).waitFor();
  assert.match(await page.locator("#looking-measured").textContent(), /(falls from [<>\d\s]+% to|stays at about)/);
  assert.match(await page.locator("#looking-most").textContent(), /brightest: [\d.]+\s% of the attention/);
  assert.deepEqual(await axeViolations(page), []);
  await page.keyboard.press("End");
  assert.equal(await focused(page), words.at(-1), "through the words of both captions");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#map").isHidden(), true);
  assert.equal(await focused(page), words.at(-1), "the focus stays");
  assert.deepEqual(await pixels(page), bare);
});

on("a word under the pointer shows its map, and the view and the veil change it", {}, async (page) => {
  await page.locator("#examples button").first().click();
  await ready(page);
  await page.locator(".word").nth(1).hover();
  const hovered = await pixels(page);
  await page.mouse.move(2, 2);
  assert.equal(await page.locator("#map").isHidden(), true, "the map goes with the pointer");
  await page.locator(".word").nth(1).click();
  await page.mouse.move(2, 2);
  assert.deepEqual(await pixels(page), hovered, "a click keeps it");
  await page.locator("#looking-measured").filter({ hasText: /falls from|stays at/ }).waitFor();
  await shot(page, "light-map");
  await page.getByLabel("needed").check();
  assert.match(await page.locator("#looking-most").textContent(), /nats/);
  const needs = await pixels(page);
  assert.notDeepEqual(needs, hovered);
  await page.locator("#veil").fill("20");
  assert.notDeepEqual(await pixels(page), needs);
  await page.getByLabel("without it").check();
  assert.match(await page.locator("#looking-where").textContent(), /painted grey/);
  await shot(page, "light-deletion");
  assert.deepEqual(await axeViolations(page), []);
  await page.locator("#looking-clear").click();
  assert.equal(await page.evaluate(() => document.activeElement.className), "word");
});

on("a question is answered", {}, async (page) => {
  await page.locator("#examples button").first().click();
  await ready(page);
  assert.equal(await page.locator("#suggestions button").count(), 3);
  await page.locator("#suggestions button").first().click();
  await page.locator(".answer-text").waitFor();
  await page.locator("#question").fill("is there a cat?");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".answer-text").length === 2);
  assert.match(await page.locator(".answer").first().textContent(), /^is there a cat\?/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "question");
  assert.deepEqual(await axeViolations(page), []);
});

on("texts are compared", {}, async (page) => {
  await page.locator("#examples button").first().click();
  await ready(page);
  await page.locator("#texts").fill("a black dog\n\nan orange cat below the moon");
  await page.locator("#compare-form button[type=submit]").click();
  await page.locator(".bars").waitFor();
  assert.deepEqual(await texts(page, ".bar-text"), ["an orange cat below the moon", "a black dog"], "the best first");
  assert.match((await texts(page, ".bar-number")).join(), /^\d+\s%,<\s1\s%$/);
  const [best, worst] = await page.locator(".bar-filled").evaluateAll((bars) => bars.map((bar) => bar.offsetWidth));
  assert.ok(best > 10 * worst, `bars of ${best} and ${worst} pixels`);
  await page.locator("#texts-captions").click();
  assert.equal((await page.locator("#texts").inputValue()).split("\n").length, 4);
  assert.deepEqual(await axeViolations(page), []);
  await shot(page, "light-compare");
});

on("the language is the browser's, and can be switched", { locale: "zh-CN" }, async (page) => {
  assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
  await page.locator("#examples button").first().click();
  await ready(page);
  await page.locator(".word").nth(4).click();
  await page.locator("#looking-measured").filter({ hasText: /降到|仍约为/ }).waitFor();
  await shot(page, "chinese");
  assert.deepEqual(await axeViolations(page), []);
  const captions = await texts(page, ".sentence");
  await page.getByRole("button", { name: "English" }).click();
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
  assert.match(await page.locator("#looking-where").textContent(), /looked mostly/);
  assert.deepEqual(await texts(page, ".sentence"), captions);
  assert.equal(await focused(page), "English");
});

on("the call can be copied as curl and Python", { permissions: ["clipboard-read", "clipboard-write"] }, async (page) => {
  await page.locator("#examples button").first().click();
  await ready(page);
  await page.locator("#usage summary").click();
  const [curl, python] = await texts(page, "pre");
  assert.match(curl, /^curl 'http:.*\/v1\/caption\?language=zh,en&captions=5&tags=8&check=true'/);
  assert.match(curl, /--data-binary '@cat\.jpg'$/);
  assert.match(python, /^import json, pathlib, urllib\.request\n/);
  await page.getByRole("button", { name: "Copy the curl command" }).click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), curl);
  await page.getByRole("button", { name: "copy as an attribute" }).last().click();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^alt="[\w ]+"$/);
  assert.deepEqual(await axeViolations(page), []);
  await shot(page, "light-usage");
});

on("the curl and Python lines say what the page says, whatever the file is called", {}, async (page) => {
  const name = `it's "a" $(b); c\\d 猫.jpg`;
  const folder = await mkdtemp(`${tmpdir()}/page-`);
  const buffer = await readFile(new URL("examples/dog.jpg", PAGE));
  await writeFile(`${folder}/${name}`, buffer);
  await page.locator("#file").setInputFiles({ name, mimeType: "image/jpeg", buffer });
  await ready(page);
  await page.locator("#usage summary").click();
  const replies = async () => {
    const [curl, python] = await texts(page, "pre");
    const runs = [run("bash", ["-c", curl], { cwd: folder }), run("python3", ["-c", python], { cwd: folder })];
    const [fromCurl, fromPython] = (await Promise.all(runs)).map(({ stdout }) => stdout);
    // Python prints its own notation: only what is in it counts.
    return [JSON.parse(fromCurl).results[0], fromPython];
  };
  const [zh] = await texts(page, ".sentence");
  const [captioned, captionedByPython] = await replies();
  assert.equal(captioned.caption, zh);
  assert.ok(captionedByPython.includes(zh));
  await page.locator("#question").fill(`is "it's" a cat?; @x`);
  await page.keyboard.press("Enter");
  await page.locator(".answer-text").waitFor();
  const [answered, answeredByPython] = await replies();
  const answer = await page.locator(".answer-text strong").textContent();
  assert.equal(answered.answer, answer);
  assert.ok(answeredByPython.includes(answer));
  await rm(folder, { recursive: true });
});

for (const [name, options] of [
  ["phone of 320 px", { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true }],
  ["phone of 390 px", { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }],
  ["zoom of 200 %", { viewport: { width: 640, height: 430 }, deviceScaleFactor: 2 }],
]) {
  on(`${name}: nothing is wider than the screen`, options, async (page) => {
    assert.equal(await isWide(page), false, "empty");
    await shot(page, `${name.replaceAll(/\W+/g, "-")}-empty`);
    await page.locator("#examples button").first().click();
    await ready(page);
    assert.equal(await isWide(page), false, "with captions");
    await shot(page, `${name.replaceAll(/\W+/g, "-")}-captions`);
    const word = page.locator(".word").nth(1);
    await (options.hasTouch ? word.tap() : word.click());
    assert.equal(await page.locator("#map").isVisible(), true);
    await page.locator("#looking-measured").filter({ hasText: /falls from|stays at/ }).waitFor();
    await shot(page, `${name.replaceAll(/\W+/g, "-")}-map`);
    await page.locator("#usage summary").click();
    assert.equal(await isWide(page), false, "with a map and code");
    assert.deepEqual(await axeViolations(page), []);
  });
}

for (const [name, options] of [
  ["dark", { colorScheme: "dark" }],
  ["forced colours", { forcedColors: "active" }],
  ["reduced motion", { reducedMotion: "reduce" }],
]) {
  on(`${name}: all states without findings of axe`, options, async (page) => {
    assert.deepEqual(await axeViolations(page), []);
    const resume = await hold(page, "**/v1/caption*");
    await page.locator("#examples button").nth(1).click();
    await page.locator(".skeleton").first().waitFor();
    const moving = await page.evaluate(() => document.getAnimations().length);
    assert.equal(moving > 0, name !== "reduced motion", `${moving} animations`);
    resume();
    await ready(page);
    await page.locator(".word").nth(1).click();
    await page.locator("#looking-measured").filter({ hasText: /falls from|stays at/ }).waitFor();
    await page.locator("#suggestions button").first().click();
    await page.locator(".answer-text").waitFor();
    await page.locator("#texts").fill("a black dog\na red house");
    await page.locator("#compare-form button[type=submit]").click();
    await page.locator(".bars").waitFor();
    await drop(page, "broken.jpg");
    await page.locator("#captions .failure").waitFor();
    assert.deepEqual(await axeViolations(page), []);
    await page.locator("#recent-list button").last().click();
    await ready(page);
    await page.locator(".word").nth(1).click();
    assert.deepEqual(await axeViolations(page), []);
    await page.evaluate(() => window.scrollTo(0, 0));
    await shot(page, name.replaceAll(" ", "-"));
  });
}

on("a second picture ends the first, and the first's caption is never shown", {}, async (page) => {
  const aborted = [];
  page.on("requestfailed", (request) => aborted.push(new URL(request.url()).pathname));
  const resume = await hold(page, "**/v1/caption*", 1);
  const seen = await page.evaluateHandle(() => {
    const sentences = new Set();
    new MutationObserver(() => document.querySelectorAll(".sentence").forEach((one) => sentences.add(one.textContent)))
      .observe(document.body, { childList: true, subtree: true });
    return sentences;
  });
  await page.locator("#examples button").nth(0).click();
  await page.locator(".skeleton").first().waitFor();
  await shot(page, "skeleton");
  assert.deepEqual(await axeViolations(page), []);
  await page.locator("#examples button").nth(1).click();
  await ready(page);
  resume();
  await page.waitForTimeout(500);
  assert.ok(aborted.includes("/v1/caption"), "the first request is aborted");
  assert.match(await page.locator("#name").textContent(), /^dog\.jpg/);
  assert.equal(await seen.evaluate((sentences) => sentences.size), 2, "one caption in each language was ever shown");
  await page.locator("#recent-list button").last().click();
  await ready(page);
  assert.match(await page.locator("#name").textContent(), /^cat\.jpg/);
});

on("the last ten pictures are kept, with what is known of them", {}, async (page) => {
  for (let count = 0; count < 11; count += 1) {
    await page.locator("#examples button").nth(count % 4).click();
    const name = ["cat", "dog", "cars", "fish"][count % 4];
    await page.waitForFunction((wanted) => document.querySelector("#name").textContent.startsWith(wanted), name);
    await ready(page);
  }
  assert.equal(await page.locator("#recent-list button").count(), 10);
  let requests = 0;
  page.on("request", () => (requests += 1));
  await page.locator("#recent-list button").nth(9).click();
  await ready(page);
  assert.match(await page.locator("#name").textContent(), /^dog\.jpg/);
  assert.equal(requests, 0, "nothing is read again");
});

on("a full server is tried again after its time", {}, async (page) => {
  let isFull = true;
  await page.route("**/v1/caption*", (route) => {
    if (!isFull) return route.continue();
    isFull = false;
    const error = { message: "the queue is full: expected at most 64 pictures, found 65", type: "overloaded", param: null, code: "overloaded" };
    return route.fulfill({ status: 429, headers: { "retry-after": "2" }, json: { error } });
  });
  await page.locator("#examples button").first().click();
  const failure = page.locator("#captions .failure");
  await failure.waitFor();
  assert.match(await failure.textContent(), /the queue is full.*429 overloaded.*Try again in [12] s/);
  assert.equal(await failure.getByRole("button").isDisabled(), true);
  assert.deepEqual(await axeViolations(page), []);
  await shot(page, "error-429");
  await failure.getByRole("button", { name: /^Try again$/ }).click({ timeout: 5000 });
  await ready(page);
  assert.equal(await failure.count(), 0);
});

on("what is no picture is refused in the server's words", {}, async (page) => {
  await drop(page, "broken.jpg");
  const failure = page.locator("#captions .failure");
  await failure.waitFor();
  assert.match(await failure.textContent(), /No caption.+4(15|22) \w+/);
  assert.equal(await failure.getByRole("button").count(), 0, "the same again would fail again");
  assert.deepEqual(await axeViolations(page), []);
  await page.locator("#examples button").first().click();
  await ready(page);
});

on("errors stand beside what failed", {}, async (page) => {
  const error = { message: "expected an answer within 30 s, found none", type: "timeout", param: null, code: "timeout" };
  await page.route(/\/v1\/(ask|match|explain)/, (route) => route.fulfill({ status: 504, json: { error } }));
  await page.locator("#examples button").first().click();
  await page.locator("[data-explained] .failure").first().waitFor();
  await page.locator("#suggestions button").first().click();
  await page.locator("#texts").fill("a dog");
  await page.locator("#compare-form button[type=submit]").click();
  for (const place of ["#answers", "#comparison"]) await page.locator(`${place} .failure`).waitFor();
  assert.deepEqual(await axeViolations(page), []);
  await page.unroute(/\/v1\/(ask|match|explain)/);
  await page.locator("#answers .failure button").click();
  await page.locator(".answer-text").waitFor();
});

on("no server, no caption, and words for it", {}, async (page) => {
  await page.route("**/v1/caption*", (route) => route.abort());
  await page.locator("#examples button").first().click();
  await page.locator("#captions .failure").waitFor();
  assert.match(await page.locator("#captions .failure").textContent(), /cannot be reached/);
});

test("a server with a key requests it", async () => {
  const locked = await startMock({ key: "s3cret" });
  const { page, troubles, close } = await open(browser, locked.address);
  await page.locator("#key").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "key-value");
  assert.match(await page.locator("#key-message").textContent(), /expected an API key/);
  assert.deepEqual(await axeViolations(page), []);
  await shot(page, "key");
  await drop(page, "cat.jpg");
  await page.locator("#key-value").fill("wrong");
  await page.keyboard.press("Enter");
  await page.waitForResponse((response) => response.status() === 401);
  await page.locator("#key-value").fill("s3cret");
  await page.keyboard.press("Enter");
  await ready(page);
  assert.equal(await page.locator("#key").isHidden(), true);
  await page.locator("#usage summary").click();
  const code = await page.locator("#usage-body").textContent();
  assert.ok(code.includes("$MPLUG_API_KEY") && !code.includes("s3cret"), "the key itself is not shown");
  assert.deepEqual(troubles, []);
  await close();
  await locked.stop();
});

test("a page of another machine says where pictures go, and copies without a secure context", async () => {
  const { page, troubles, close } = await open(browser, mock.address.replace("127.0.0.1", ELSEWHERE));
  const { host } = new URL(page.url());
  assert.equal(await page.locator("#privacy").textContent(), `Pictures go to ${host} and nowhere else`);
  await page.locator("#examples button").first().click();
  await ready(page);
  assert.equal(await page.evaluate(() => window.isSecureContext), false);
  await page.getByRole("button", { name: "Copy the text" }).last().click();
  await page.locator("#announcement").filter({ hasText: /^Copied$/ }).waitFor();
  assert.equal(await focused(page), "Copied", "the focus is back on the button");
  await page.locator("#question").focus();
  await page.keyboard.press("ControlOrMeta+V");
  assert.equal(await page.locator("#question").inputValue(), (await texts(page, ".sentence"))[1]);
  assert.deepEqual(troubles, []);
  await close();
});

test("a model of one language has one column, and boxes stand where their models are", async () => {
  const small = await startMock({ languages: ["zh"], tasks: ["caption"] });
  const { page, troubles, close } = await open(browser, small.address);
  await page.locator("#examples button").first().click();
  await ready(page, 1);
  assert.equal(await page.locator("#ask").isHidden(), true);
  assert.equal(await page.locator("#compare").isHidden(), true);
  assert.equal(await page.locator(".match").count(), 0);
  await shot(page, "one-language");
  assert.deepEqual(await axeViolations(page), []);
  assert.deepEqual(troubles, []);
  await close();
  await small.stop();
});

test("the page is smaller than 150 kB", async () => {
  let bytes = 0;
  for (const entry of await readdir(PAGE, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await stat(`${entry.parentPath ?? entry.path}/${entry.name}`)).size;
  }
  assert.ok(bytes < 150_000, `expected less than 150,000 bytes, found ${bytes}`);
});

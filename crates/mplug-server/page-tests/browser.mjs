// A browser page that is watched: its console, violations of its policy, and requests to other origins.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const EXAMPLES = new URL("../page/examples/", import.meta.url);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** A name that the browser finds on this machine, and that is no loopback to the page. */
export const ELSEWHERE = "pictures.example";

export const startBrowser = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", `--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`],
  });

/** Opens the page of a server. `troubles` collects what must not happen. */
export async function open(browser, address, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale: "en-US", ...options });
  const troubles = [];
  await context.route((url) => url.origin !== address, (route) => {
    troubles.push(`request to ${route.request().url()}`);
    return route.abort();
  });
  await context.exposeBinding("reportTrouble", (_, trouble) => troubles.push(trouble));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.reportTrouble(`policy ${event.violatedDirective} violated by ${event.blockedURI}`);
    });
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    // The browser itself writes down each reply with an error status: tests of errors want them.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) troubles.push(message.text());
  });
  page.on("pageerror", (error) => troubles.push(String(error)));
  await page.goto(address);
  return { page, troubles, close: () => context.close() };
}

/** A file of the page's examples in the page's world, as a transfer of the clipboard or of a drag. */
async function transfer(page, name) {
  const bytes = await readFile(new URL(name, EXAMPLES)).catch(() => Buffer.from("no picture"));
  return page.evaluateHandle(([encoded, called]) => {
    const data = new DataTransfer();
    const file = new File([Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0))], called, { type: "image/jpeg" });
    data.items.add(file);
    return data;
  }, [bytes.toString("base64"), name]);
}

/** Drops a file onto the page's body, as a person does. */
export async function drop(page, name) {
  const dataTransfer = await transfer(page, name);
  for (const event of ["dragenter", "dragover", "drop"]) await page.dispatchEvent("body", event, { dataTransfer });
}

export async function paste(page, name) {
  const clipboardData = await transfer(page, name);
  await clipboardData.evaluate((data) =>
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })));
}

/** Waits until the captions stand there and their words are buttons. */
export const ready = (page, columns = 2) =>
  page.waitForFunction((count) => document.querySelectorAll(".sentence[role=group]").length === count, columns);

/** What axe finds, with the elements. */
export async function axeViolations(page) {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { violations } = await window.axe.run(document);
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(" ")).join(", ")}`);
  });
}

/** The shown picture as pixels. Playwright's own style for screenshots would violate the policy, hence `caret`. */
export const pixels = (page, selector = ".frame") => page.locator(selector).screenshot({ caret: "initial", animations: "allow" });

export const isWide = (page) => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

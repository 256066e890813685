// A Chromium without a window, told what to do by the DevTools protocol over two pipes: no package is needed for that.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";

const PATIENCE = 60_000;

export class Browser {
  #next = 1;
  #asked = new Map();
  #heard = [];
  /** What the page has complained of: errors of scripts, and what its own policy has kept from it. */
  complaints = [];

  static async start(program, profile) {
    const arguments_ = [
      "--headless=new",
      "--remote-debugging-pipe",
      `--user-data-dir=${profile}`,
      "--no-first-run",
      "--no-default-browser-check",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      // As root, and in containers, there is none.
      "--no-sandbox",
      "about:blank",
    ];
    const child = spawn(program, arguments_, { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] });
    const browser = new Browser(child);
    const { targetInfos } = await browser.#ask("Target.getTargets");
    const page = targetInfos.find(({ type }) => type === "page");
    const attached = await browser.#ask("Target.attachToTarget", { targetId: page.targetId, flatten: true });
    browser.session = attached.sessionId;
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await browser.send(`${domain}.enable`);
    return browser;
  }

  constructor(child) {
    this.child = child;
    this.said = "";
    child.stderr.on("data", (text) => (this.said += text));
    let rest = Buffer.alloc(0);
    child.stdio[4].on("data", (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
        this.#hear(JSON.parse(rest.subarray(0, end)));
        rest = rest.subarray(end + 1);
      }
    });
    child.on("exit", () => {
      for (const { reject } of this.#asked.values()) reject(new Error(`the browser has ended:\n${this.said}`));
    });
  }

  #hear(message) {
    if (message.id) {
      const { resolve, reject } = this.#asked.get(message.id);
      this.#asked.delete(message.id);
      return message.error ? reject(new Error(JSON.stringify(message.error))) : resolve(message.result);
    }
    const { method, params } = message;
    if (method === "Runtime.exceptionThrown") this.complaints.push(params.exceptionDetails.exception?.description);
    if (method === "Log.entryAdded" && params.entry.level === "error") this.complaints.push(params.entry.text);
    if (method === "Network.requestWillBeSent") this.#heard.push(params.request.url);
  }

  /** The addresses that the browser was at. */
  get requests() {
    return this.#heard;
  }

  #ask(method, params = {}, sessionId) {
    const id = this.#next++;
    this.child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }

  send(method, params) {
    return this.#ask(method, params, this.session);
  }

  /** The value of an expression on the page. */
  async value(expression) {
    const asked = { expression, returnByValue: true, awaitPromise: true };
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", asked);
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
    return result.value;
  }

  /** Waits until an expression is true on the page, and gives it. */
  async until(expression) {
    const began = Date.now();
    for (;;) {
      const value = await this.value(expression);
      if (value) return value;
      if (Date.now() - began > PATIENCE) {
        throw new Error(`never came: ${expression}\n${await this.value("document.body.innerText")}\n${this.complaints.join("\n")}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async visit(url) {
    await this.send("Page.navigate", { url });
    await this.until("document.readyState === 'complete'");
  }

  /** Clicks into the middle of what a selector finds, as a mouse does. */
  async click(selector) {
    const found = `document.querySelector(${JSON.stringify(selector)})`;
    await this.until(`Boolean(${found})`);
    await this.value(`${found}.scrollIntoView({ block: "center", behavior: "instant" })`);
    const [x, y] = await this.value(`(() => { const { x, y, width, height } = ${found}.getBoundingClientRect(); return [x + width / 2, y + height / 2]; })()`);
    for (const type of ["mousePressed", "mouseReleased"]) {
      await this.send("Input.dispatchMouseEvent", { type, x, y, button: "left", clickCount: 1 });
    }
  }

  async key(key, text) {
    const codes = { Enter: 13, Tab: 9, ArrowLeft: 37, ArrowUp: 38, ArrowRight: 39, ArrowDown: 40 };
    const of = { key, code: key, windowsVirtualKeyCode: codes[key] ?? 0, ...(text ? { text } : {}) };
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", ...of });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...of });
  }

  type(text) {
    return this.send("Input.insertText", { text });
  }

  async screen({ width, height, isPhone = false, isDark = false }) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: isPhone ? 2 : 1, mobile: isPhone });
    const features = [{ name: "prefers-color-scheme", value: isDark ? "dark" : "light" }];
    await this.send("Emulation.setEmulatedMedia", { features });
  }

  /** Of the screen, or of what a selector finds. */
  async screenshot(path, selector) {
    const box = `(() => { const { x, y, width, height } = document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect(); return { x: x + scrollX, y: y + scrollY, width, height, scale: 1 }; })()`;
    const clip = selector ? { clip: await this.value(box) } : {};
    const { data } = await this.send("Page.captureScreenshot", { format: "png", captureBeyondViewport: true, ...clip });
    await writeFile(path, Buffer.from(data, "base64"));
  }

  async stop() {
    const ended = once(this.child, "exit");
    this.#ask("Browser.close").catch(() => {});
    await ended;
  }
}

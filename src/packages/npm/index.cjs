// The program `anabranch serve` as a child of this process.
"use strict";

const { spawn } = require("node:child_process");
const { randomInt, randomUUID } = require("node:crypto");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

// Signatures are not verified, so any key will do; but clients want to have one.
const ANY_KEY = "any";
const MOST_LOG_BYTES = 1 << 20;
const PATIENCE = 60_000;

class ServerError extends Error {
  constructor(what, log) {
    super(log ? `${what}; it said:\n${log}` : `${what}, and said nothing`);
    this.name = "ServerError";
    this.log = log;
  }
}

function findProgram() {
  const named = process.env.ANABRANCH_PROGRAM;
  if (named) {
    const found = path.basename(named) === named ? onSearchPath(named) : runnable(named);
    if (!found) throw new Error(`ANABRANCH_PROGRAM is "${named}", and that is no program that can be run`);
    return found;
  }
  // Where a release has it.
  const own = path.join(__dirname, "bin", "anabranch");
  const found = runnable(own) ?? onSearchPath("anabranch");
  if (!found) {
    throw new Error(
      `the program anabranch is not there. It was looked for at ${own} and in the directories of PATH. ` +
        "Name it in ANABRANCH_PROGRAM, or in the option `program`.",
    );
  }
  return found;
}

function onSearchPath(name) {
  for (const directory of (process.env.PATH ?? "").split(path.delimiter)) {
    const found = directory && runnable(path.join(directory, name));
    if (found) return found;
  }
  return undefined;
}

/** The path, if there is a file that may be run. */
function runnable(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile() ? file : undefined;
  } catch {
    return undefined;
  }
}

function freshRegion() {
  let letters = "";
  while (letters.length < 12) letters += String.fromCharCode("a".charCodeAt(0) + randomInt(26));
  // It looks like one of AWS': some SDKs derive the partition from it.
  return `us-test${letters}-1`;
}

/** One text is a list of one, and not of its letters. */
function listed(texts = []) {
  return typeof texts === "string" ? [texts] : [...texts];
}

/** A file without a name, of which nothing is left, however this process ends. */
function openNameless() {
  const file = path.join(os.tmpdir(), `anabranch-${randomUUID()}`);
  const opened = fs.openSync(file, "wx+", 0o600);
  fs.unlinkSync(file);
  return opened;
}

/** The last that is in a file. The program that writes to it shares the position, which must not move. */
function lastText(file) {
  const { size } = fs.fstatSync(file);
  const bytes = Buffer.alloc(Math.min(size, MOST_LOG_BYTES));
  const length = fs.readSync(file, bytes, 0, bytes.length, size - bytes.length);
  return bytes.toString("utf8", 0, length);
}

/** The first line says where the server is: as JSON, or in its last word, which with `--ephemeral` is the only one. */
function urlIn(line) {
  try {
    return JSON.parse(line).url;
  } catch {
    return line.trim().split(" ").at(-1);
  }
}

class Server {
  #child;
  /** What the child writes its standard error to, until it has ended: at a pipe that is full it would wait for this process. */
  #errors;
  #log = "";
  #ended;
  /** What the first call of `stop` or `kill` has given. */
  #stopped;

  constructor(program, options) {
    this.region = options.region ?? "us-east-1";
    this.accountId = options.accountId ?? "000000000000";
    const command = [
      "serve",
      "--exit-with-stdin",
      `--listen=${options.listen ?? "127.0.0.1:0"}`,
      `--region=${this.region}`,
      `--account-id=${this.accountId}`,
      options.dataDir === undefined ? "--ephemeral" : `--data-dir=${options.dataDir}`,
      ...listed(options.streams).map((stream) => `--create-stream=${stream}`),
      ...listed(options.faults).map((fault) => `--fault=${fault}`),
      ...listed(options.emulate).map((emulated) => `--emulate=${emulated}`),
      ...(options.faultSeed === undefined ? [] : [`--fault-seed=${options.faultSeed}`]),
      ...listed(options.arguments),
    ];
    // What the environment says of another server is not meant for this one.
    const environment = Object.entries(process.env).filter(([name]) => !name.startsWith("ANABRANCH_"));
    this.#errors = openNameless();
    try {
      this.#child = spawn(program, command, {
        // Nothing is ever written to its standard input. Its end comes with the end of this process, also by SIGKILL, and
        // the program ends at that.
        stdio: ["pipe", "pipe", this.#errors],
        env: Object.fromEntries(environment),
        // Ctrl-C at the terminal is for this process, which may still need the server then.
        detached: true,
      });
    } catch (error) {
      this.#closeErrors();
      throw error;
    }
    // It comes after all that the program said. A program that cannot be run has no exit.
    this.#ended = new Promise((resolve) => {
      this.#child.on("error", (error) => resolve(`because of ${error.message}`));
      this.#child.once("close", (status, signal) => resolve(signal ? `by signal ${signal}` : `with status ${status}`));
    }).then((how) => {
      this.#closeErrors();
      return how;
    });
    // The pipe breaks when the program ends before this process. Without file descriptors there is none.
    this.#child.stdin?.on("error", () => {});
  }

  get pid() {
    return this.#child.pid;
  }

  /** The program says where it is in its first line, when it serves. */
  async serves(timeout) {
    let said = "";
    const firstLine = new Promise((resolve) => {
      this.#child.stdout?.setEncoding("utf8").on("data", (text) => {
        if (said.includes("\n")) return;
        said += text;
        if (said.includes("\n")) resolve(said.split("\n")[0]);
      });
    });
    const started = await within(timeout, [
      firstLine.then((line) => ({ url: urlIn(line) })),
      this.#ended.then((how) => ({ problem: `anabranch did not start, and ended ${how}` })),
    ]);
    const late = { problem: `anabranch did not start within ${timeout} ms` };
    const { url, problem = "anabranch did not say where it serves" } = started ?? late;
    if (!url) {
      await this.kill();
      throw new ServerError(problem, this.log());
    }
    this.url = url;
    // From here on the child does not keep this process from ending.
    this.#keepsProcess(false);
  }

  clientOptions(region = this.region) {
    return { endpoint: this.url, region, credentials: { accessKeyId: ANY_KEY, secretAccessKey: ANY_KEY } };
  }

  environment(region = this.region) {
    return {
      AWS_ENDPOINT_URL_KINESIS: this.url,
      AWS_REGION: region,
      AWS_DEFAULT_REGION: region,
      AWS_ACCESS_KEY_ID: ANY_KEY,
      AWS_SECRET_ACCESS_KEY: ANY_KEY,
    };
  }

  log() {
    return this.#errors === undefined ? this.#log : lastText(this.#errors);
  }

  stop(timeout = PATIENCE) {
    this.#stopped ??= this.#stop(timeout);
    return this.#stopped;
  }

  async #stop(timeout) {
    this.#keepsProcess(true);
    const hadEnded = this.#child.exitCode !== null || this.#child.signalCode !== null;
    this.#signal("SIGTERM");
    const how = await within(timeout, [this.#ended]);
    if (how === undefined) {
      await this.#kill();
      throw new ServerError(`anabranch did not stop within ${timeout} ms`, this.log());
    }
    if (hadEnded) throw new ServerError(`anabranch had ended by itself, ${how}`, this.log());
    if (how !== "with status 0") throw new ServerError(`anabranch did not stop in order, and ended ${how}`, this.log());
  }

  kill() {
    const killed = this.#kill();
    this.#stopped ??= killed;
    return killed;
  }

  async #kill() {
    this.#keepsProcess(true);
    this.#signal("SIGKILL");
    await this.#ended;
  }

  /** A child that was never started has no number, and a signal to number 0 would be for this process and its group. */
  #signal(signal) {
    if (this.#child.pid !== undefined) this.#child.kill(signal);
  }

  #closeErrors() {
    if (this.#errors === undefined) return;
    this.#log = lastText(this.#errors);
    fs.closeSync(this.#errors);
    this.#errors = undefined;
  }

  #keepsProcess(keeps) {
    const verb = keeps ? "ref" : "unref";
    for (const handle of [this.#child, this.#child.stdin, this.#child.stdout]) handle?.[verb]?.();
  }
}

// Older versions of node 20 have no such symbol.
if (Symbol.asyncDispose) {
  Object.defineProperty(Server.prototype, Symbol.asyncDispose, {
    value() {
      return this.stop();
    },
  });
}

/** What the first of the promises gives; nothing if it takes longer than so many milliseconds. */
async function within(timeout, promises) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, timeout);
  });
  try {
    return await Promise.race([...promises, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function start(options = {}) {
  const server = new Server(options.program ?? findProgram(), options);
  await server.serves(options.startupTimeout ?? PATIENCE);
  return server;
}

module.exports = { ServerError, findProgram, freshRegion, start };

// The program `anabranch serve` as a child of this process.
"use strict";

const { spawn } = require("node:child_process");
const { randomInt } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

// Signatures are not verified, so any key will do; but clients want to have one.
const ANY_KEY = "any";
const MOST_LOG_CHARACTERS = 1 << 20;
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

class Server {
  #child;
  #log = "";
  #ended;
  #isStopped = false;

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
    this.#child = spawn(program, command, {
      // Nothing is ever written to its standard input. Its end comes with the end of this process, also by SIGKILL, and the
      // program ends at that.
      stdio: ["pipe", "pipe", "pipe"],
      env: Object.fromEntries(environment),
      // Ctrl-C at the terminal is for this process, which may still need the server then.
      detached: true,
    });
    this.#child.stderr.setEncoding("utf8").on("data", (text) => {
      this.#log = (this.#log + text).slice(-MOST_LOG_CHARACTERS);
    });
    // It comes after all that the program said. A program that cannot be run has no exit.
    this.#ended = new Promise((resolve) => {
      this.#child.on("error", (error) => resolve(`because of ${error.message}`));
      this.#child.once("close", (status, signal) => resolve(signal ? `by signal ${signal}` : `with status ${status}`));
    });
    // The pipe breaks when the program ends before this process.
    this.#child.stdin.on("error", () => {});
  }

  get pid() {
    return this.#child.pid;
  }

  /** The program says where it is in its first line, when it serves: the last word of it, and with `--ephemeral` the only one. */
  async serves(timeout) {
    let said = "";
    const firstLine = new Promise((resolve) => {
      this.#child.stdout.setEncoding("utf8").on("data", (text) => {
        if (said.includes("\n")) return;
        said += text;
        if (said.includes("\n")) resolve(said.split("\n")[0]);
      });
    });
    const started = await within(timeout, [
      firstLine.then((line) => ({ url: line.trim().split(" ").at(-1) })),
      this.#ended.then((how) => ({ problem: `anabranch did not start, and ended ${how}` })),
    ]);
    const late = { problem: `anabranch did not start within ${timeout} ms` };
    const { url, problem = "anabranch did not say where it serves" } = started ?? late;
    if (!url) {
      await this.kill();
      throw new ServerError(problem, this.#log);
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
    return this.#log;
  }

  async stop(timeout = PATIENCE) {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#keepsProcess(true);
    const hadEnded = this.#child.exitCode !== null || this.#child.signalCode !== null;
    this.#child.kill("SIGTERM");
    const how = await within(timeout, [this.#ended]);
    if (how === undefined) {
      this.#child.kill("SIGKILL");
      await this.#ended;
      throw new ServerError(`anabranch did not stop within ${timeout} ms`, this.#log);
    }
    if (hadEnded) throw new ServerError(`anabranch had ended by itself, ${how}`, this.#log);
    if (how !== "with status 0") throw new ServerError(`anabranch did not stop in order, and ended ${how}`, this.#log);
  }

  async kill() {
    this.#isStopped = true;
    this.#keepsProcess(true);
    this.#child.kill("SIGKILL");
    await this.#ended;
  }

  #keepsProcess(keeps) {
    const verb = keeps ? "ref" : "unref";
    for (const handle of [this.#child, this.#child.stdin, this.#child.stdout, this.#child.stderr]) handle?.[verb]?.();
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

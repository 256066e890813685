// `start`, as a program that tests itself uses it.
//
// Run as: node --test, beside a node_modules with the package, and with the AWS SDK on NODE_PATH
"use strict";

const assert = require("node:assert/strict");
const { execFile, spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { test } = require("node:test");
const { promisify } = require("node:util");
const { ServerError, findProgram, freshRegion, start } = require("anabranch");
const {
  CreateStreamCommand,
  DescribeLimitsCommand,
  DescribeStreamSummaryCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListShardsCommand,
  ListStreamsCommand,
  ProvisionedThroughputExceededException,
  PutRecordCommand,
} = require("@aws-sdk/client-kinesis");

const run = promisify(execFile);
const PATIENCE = 60_000;
const PUT = { StreamName: "clicks", PartitionKey: "user-3", Data: Buffer.from("hello") };

async function withClient(options, use) {
  const client = new KinesisClient(options);
  try {
    return await use(client);
  } finally {
    client.destroy();
  }
}

function streams(options) {
  return withClient(options, async (client) => (await client.send(new ListStreamsCommand({}))).StreamNames);
}

async function texts(options, StreamName) {
  return withClient(options, async (client) => {
    const { Shards } = await client.send(new ListShardsCommand({ StreamName }));
    const read = [];
    for (const { ShardId } of Shards) {
      const position = { StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON" };
      const { ShardIterator } = await client.send(new GetShardIteratorCommand(position));
      const { Records } = await client.send(new GetRecordsCommand({ ShardIterator }));
      read.push(...Records.map((record) => Buffer.from(record.Data).toString()));
    }
    return read;
  });
}

/** Whether a server is there. */
async function answers(url) {
  try {
    await (await fetch(url)).text();
    return true;
  } catch {
    return false;
  }
}

function isRunning(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** A directory for a test. */
function directory(t) {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), "anabranch-"));
  t.after(() => fs.rmSync(made, { recursive: true }));
  return made;
}

/** Sets environment variables for a test. */
function setVariables(t, variables) {
  const before = { ...process.env };
  t.after(() => {
    for (const name of Object.keys(variables)) {
      if (name in before) process.env[name] = before[name];
      else delete process.env[name];
    }
  });
  Object.assign(process.env, variables);
}

function script(t, name, text) {
  const program = path.join(directory(t), name);
  fs.writeFileSync(program, text, { mode: 0o755 });
  return program;
}

test("a server is there until it is stopped", async () => {
  const server = await start({ streams: ["clicks:2", "orders"] });
  assert.match(server.url, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.equal(server.region, "us-east-1");
  assert.equal(server.accountId, "000000000000");
  await withClient(server.clientOptions(), async (client) => {
    const { Shards } = await client.send(new ListShardsCommand({ StreamName: "clicks" }));
    assert.equal(Shards.length, 2);
    await client.send(new PutRecordCommand(PUT));
  });
  assert.deepEqual(await texts(server.clientOptions(), "clicks"), ["hello"]);
  await server.stop();
  assert.match(server.log(), /the store is closed/);
  assert.equal(isRunning(server.pid), false);
  assert.equal(await answers(server.url), false);
  await server.stop();
});

test("options reach the server", async () => {
  const server = await start({
    streams: "clicks:1",
    faults: ["PutRecord:throttle:1"],
    faultSeed: 7,
    emulate: ["changes", "throughput"],
    region: "eu-west-1",
    accountId: "123456789012",
    arguments: ["--shard-limit", "3", "--log=debug"],
  });
  await withClient({ ...server.clientOptions(), maxAttempts: 1 }, async (client) => {
    const described = await client.send(new DescribeStreamSummaryCommand({ StreamName: "clicks" }));
    const arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";
    assert.equal(described.StreamDescriptionSummary.StreamARN, arn);
    assert.equal((await client.send(new DescribeLimitsCommand({}))).ShardLimit, 3);
    await assert.rejects(client.send(new PutRecordCommand(PUT)), ProvisionedThroughputExceededException);
  });
  await server.stop();
  assert.match(server.log(), /DEBUG/);
});

test("streams in a directory survive a killed server", async (t) => {
  const dataDir = path.join(directory(t), "data");
  const killed = await start({ streams: "clicks:1", dataDir });
  await withClient(killed.clientOptions(), (client) => client.send(new PutRecordCommand(PUT)));
  await killed.kill();
  assert.equal(isRunning(killed.pid), false);
  await killed.stop();
  const listen = new URL(killed.url).host;
  const server = await start({ dataDir, listen });
  assert.equal(server.url, killed.url);
  assert.deepEqual(await texts(server.clientOptions(), "clicks"), ["hello"]);
  await server.stop();
});

test("a region is a place of its own", async () => {
  const server = await start({ streams: "clicks:1" });
  const region = freshRegion();
  assert.notEqual(region, freshRegion());
  const options = server.clientOptions(region);
  assert.deepEqual(await streams(options), []);
  await withClient(options, async (client) => {
    await client.send(new CreateStreamCommand({ StreamName: "clicks", ShardCount: 1 }));
    const StreamARN = `arn:aws:kinesis:${region}:000000000000:stream/clicks`;
    await client.send(new PutRecordCommand({ StreamARN, PartitionKey: "user-3", Data: Buffer.from("there") }));
  });
  assert.deepEqual(await texts(options, "clicks"), ["there"]);
  assert.deepEqual(await texts(server.clientOptions(), "clicks"), []);
  await server.stop();
});

test("a client that the program makes finds the server by the environment", async () => {
  const server = await start({ streams: "clicks:1@eu-west-1" });
  const program = `
    const { KinesisClient, ListStreamsCommand } = require("@aws-sdk/client-kinesis");
    new KinesisClient({}).send(new ListStreamsCommand({})).then(({ StreamNames }) => console.log(StreamNames.join()));`;
  const env = { ...process.env, ...server.environment("eu-west-1") };
  assert.equal((await run(process.execPath, ["-e", program], { env })).stdout, "clicks\n");
  await server.stop();
});

test("the environment does not configure the server", async (t) => {
  const dataDir = path.join(directory(t), "data");
  setVariables(t, { ANABRANCH_DATA_DIR: dataDir, ANABRANCH_FAULT: "*:fail:100%" });
  const server = await start();
  assert.deepEqual(await streams(server.clientOptions()), []);
  await server.stop();
  assert.equal(fs.existsSync(dataDir), false);
});

for (const [options, reason] of [
  [{ faults: "Put:throttle:1" }, "Put"],
  [{ region: "here" }, '"here"'],
  [{ streams: "clicks:none" }, "expected a number of shards"],
  [{ arguments: "--no-such-option" }, "--no-such-option"],
]) {
  test(`a server that does not start says why: ${reason}`, async () => {
    await assert.rejects(start(options), (error) => {
      assert(error instanceof ServerError);
      assert.match(error.message, /did not start, and ended with status [1-9]/);
      assert(error.log.includes(reason), error.log);
      assert(error.message.includes(reason), error.message);
      return true;
    });
  });
}

test("a server that takes too long is killed", async (t) => {
  const program = script(t, "slow", "#!/bin/sh\necho waiting >&2\nexec sleep 1000\n");
  await assert.rejects(start({ program, startupTimeout: 500 }), (error) => {
    assert.match(error.message, /did not start within 500 ms/);
    assert.equal(error.log, "waiting\n");
    return true;
  });
});

test("a server that ended by itself is told", async () => {
  const server = await start();
  process.kill(server.pid, "SIGKILL");
  while (isRunning(server.pid)) await new Promise(setImmediate);
  await assert.rejects(server.stop(), /had ended by itself, by signal SIGKILL/);
});

for (const [place, dataDir] of [["memory", () => undefined], ["a directory", (t) => path.join(directory(t), "data")]]) {
  test(`the program may log in JSON, with its streams in ${place}`, async (t) => {
    const server = await start({ streams: "clicks:1", dataDir: dataDir(t), arguments: "--log-format=json" });
    assert.match(server.url, /^http:\/\/127\.0\.0\.1:\d+$/);
    assert.deepEqual(await streams(server.clientOptions()), ["clicks"]);
    await server.stop();
    assert(server.log().trim().split("\n").every((line) => JSON.parse(line)));
  });
}

test("stopped twice at once, the server is stopped for both", async () => {
  const server = await start();
  const stopped = server.stop();
  assert.equal(server.stop(), stopped);
  await server.stop();
  assert.equal(isRunning(server.pid), false);
  assert.match(server.log(), /the store is closed/);
});

test("a second call to stop tells of a server that ended by itself too", async () => {
  const server = await start();
  process.kill(server.pid, "SIGKILL");
  while (isRunning(server.pid)) await new Promise(setImmediate);
  await assert.rejects(server.stop(), /had ended by itself, by signal SIGKILL/);
  await assert.rejects(server.stop(), /had ended by itself, by signal SIGKILL/);
});

test("a server that was killed is not stopped", async () => {
  const server = await start();
  const killed = server.kill();
  await server.stop();
  assert.equal(isRunning(server.pid), false);
  await killed;
});

test("the program does not wait until this process reads what it says", async (t) => {
  const done = path.join(directory(t), "done");
  // More than a pipe takes, while this process does nothing else.
  const said = "x".repeat(100);
  const lines = `i=0; while [ $i -lt 3000 ]; do echo ${said} >&2; i=$((i + 1)); done; echo the end >&2; : > ${done}`;
  const program = script(t, "talks", `#!/bin/sh\necho http://127.0.0.1:9\n${lines}\nexec cat\n`);
  const files = directory(t);
  setVariables(t, { TMPDIR: files });
  const server = await start({ program });
  assert.deepEqual(fs.readdirSync(files), []);
  const deadline = Date.now() + PATIENCE;
  while (!fs.existsSync(done)) assert(Date.now() < deadline, "the program waits");
  assert.equal(server.log(), `${said}\n`.repeat(3000) + "the end\n");
  await assert.rejects(server.stop(), /did not stop in order, and ended by signal SIGTERM/);
  assert.match(server.log(), /the end\n$/);
});

test("a server that cannot be started for want of file descriptors is an error", async () => {
  const program = `
    const fs = require("node:fs");
    const { start } = require("anabranch");
    async function main() {
      await (await start()).stop();
      for (let free = 0; free < 16; free++) {
        const held = [];
        try {
          for (;;) held.push(fs.openSync("/dev/null"));
        } catch {}
        for (const descriptor of held.splice(0, free)) fs.closeSync(descriptor);
        const how = await start().then((server) => server.stop(), (error) => error.message);
        for (const descriptor of held) fs.closeSync(descriptor);
        console.log(how ?? "started");
      }
      const isOurs = (name) => {
        try {
          return fs.readlinkSync("/proc/self/fd/" + name).includes("anabranch-");
        } catch {
          return false; // Closed meanwhile.
        }
      };
      console.log(fs.readdirSync("/proc/self/fd").filter(isOurs).length, "files left");
    }
    main();`;
  const limited = 'ulimit -n 64; exec "$0" -e "$1"';
  const { stdout } = await run("bash", ["-c", limited, process.execPath, program], { timeout: PATIENCE });
  const said = stdout.trim().split("\n");
  assert.deepEqual(said.slice(-2), ["started", "0 files left"], stdout);
  assert.match(said[0], /EMFILE/);
  assert(said.some((line) => /did not start, and ended because of spawn .*EMFILE/.test(line)), stdout);
});

test("a server can be disposed of", { skip: Symbol.asyncDispose === undefined }, async () => {
  const server = await start();
  await server[Symbol.asyncDispose]();
  assert.equal(isRunning(server.pid), false);
});

for (const end of ["", "process.exit(1)", "process.kill(process.pid, 'SIGKILL')", "throw new Error('wrong')"]) {
  test(`the server ends with the process that started it: ${end}`, async () => {
    const program = `require("anabranch").start().then((server) => { console.log(server.url); ${end} });`;
    const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "ignore"], timeout: PATIENCE });
    let url = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (url += text));
    const [status, signal] = await new Promise((resolve) => child.once("close", (...how) => resolve(how)));
    assert.notEqual(signal, "SIGTERM", "it does not end");
    assert.equal(status === 0, end === "");
    const deadline = Date.now() + PATIENCE;
    while (await answers(url.trim())) {
      assert(Date.now() < deadline, "the server does not end");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  });
}

test("the environment names another program", async (t) => {
  const program = script(t, "other", "#!/bin/sh\n");
  setVariables(t, { ANABRANCH_PROGRAM: program, PATH: path.dirname(program) });
  assert.equal(findProgram(), program);
  process.env.ANABRANCH_PROGRAM = "other";
  assert.equal(findProgram(), program);
  fs.chmodSync(program, 0o644);
  assert.throws(findProgram, /ANABRANCH_PROGRAM is "other", and that is no program that can be run/);
  await assert.rejects(start(), /no program that can be run/);
  await assert.rejects(start({ program: "/nothing/anabranch" }), (error) => error instanceof ServerError);
});

test("the program of the package comes before the one on the search path", (t) => {
  const copy = path.join(directory(t), "package");
  const isOwn = (file) => path.basename(file) === "bin";
  fs.cpSync(path.dirname(require.resolve("anabranch")), copy, { recursive: true, filter: (file) => !isOwn(file) });
  const { findProgram } = require(copy);
  const own = path.join(copy, "bin", "anabranch");
  setVariables(t, { ANABRANCH_PROGRAM: "", PATH: "/nothing" });
  assert.throws(findProgram, (error) => error.message.includes(own) && error.message.includes("ANABRANCH_PROGRAM"));
  const program = script(t, "anabranch", "#!/bin/sh\n");
  process.env.PATH = `/nothing:${path.dirname(program)}`;
  assert.equal(findProgram(), program);
  fs.mkdirSync(path.dirname(own));
  fs.copyFileSync(program, own);
  assert.equal(findProgram(), own);
});

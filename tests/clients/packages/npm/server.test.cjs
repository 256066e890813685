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

// Streams of the package `kinesis`, version 1, which speaks HTTP/1.1 over TLS and nothing else, takes any certificate of
// 127.0.0.1, and signs for no service.
//
// Run as: NODE_PATH=.../node_modules node kinesis.cjs PORT
"use strict";

const assert = require("node:assert/strict");
const { promisify } = require("node:util");
const kinesis = require("kinesis");

const options = {
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  region: "eu-west-1",
  credentials: { accessKeyId: "AKIDALICE", secretAccessKey: "secret/of+alice" },
};
const request = promisify(kinesis.request);

async function main() {
  await request("CreateStream", { StreamName: "clicks", ShardCount: 2 }, options);
  assert.deepEqual(await promisify(kinesis.listStreams)(options), ["clicks"]);
  const sink = kinesis.stream({ ...options, name: "clicks" });
  const clicks = Array.from({ length: 20 }, (_, number) => `click ${number}`);
  for (const click of clicks) {
    await promisify(sink.write.bind(sink))({ PartitionKey: click, Data: Buffer.from(click) });
  }
  const read = [];
  for await (const record of kinesis.stream({ ...options, name: "clicks", oldest: true })) {
    assert.equal(record.PartitionKey, record.Data.toString());
    read.push(record.PartitionKey);
    if (read.length === clicks.length) break;
  }
  assert.deepEqual(read.sort(), clicks.sort());
  await assert.rejects(request("DescribeStream", { StreamName: "none" }, options), { name: "ResourceNotFoundException" });
  const forged = { ...options, credentials: { ...options.credentials, secretAccessKey: "wrong" } };
  await assert.rejects(request("ListStreams", {}, forged), { name: "InvalidSignatureException" });
}

main().then(() => process.exit(0));

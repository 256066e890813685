// Right and wrong keys with the AWS SDK for JavaScript, version 3, and its default handler: HTTP/2 over TLS, where it signs
// `:authority` and not `host`. The certificate is in NODE_EXTRA_CA_CERTS.
//
// Run as: NODE_PATH=.../node_modules NODE_EXTRA_CA_CERTS=... node access.cjs URL
"use strict";

const assert = require("node:assert/strict");
const {
  CreateStreamCommand,
  KinesisClient,
  ListStreamsCommand,
  PutRecordCommand,
} = require("@aws-sdk/client-kinesis");

function client(accessKeyId, secretAccessKey, sessionToken) {
  return new KinesisClient({
    endpoint: process.argv[2],
    region: "eu-west-1",
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey, sessionToken },
  });
}

async function main() {
  const alice = client("AKIDALICE", "secret/of+alice");
  await alice.send(new CreateStreamCommand({ StreamName: "clicks", ShardCount: 1 }));
  const record = { StreamName: "clicks", PartitionKey: "k", Data: Buffer.alloc(500_000) };
  assert.ok((await alice.send(new PutRecordCommand(record))).SequenceNumber);
  const bob = client("AKIDBOB", "secret/of+bob", "token+of/bob=");
  assert.deepEqual((await bob.send(new ListStreamsCommand({}))).StreamNames, []);
  for (const [key, name] of [
    [["AKIDALICE", "wrong"], "InvalidSignatureException"],
    [["AKIDBOB", "secret/of+bob"], "UnrecognizedClientException"],
    [["any", "any"], "UnrecognizedClientException"],
  ]) {
    await assert.rejects(client(...key).send(new ListStreamsCommand({})), { name });
  }
}

main();

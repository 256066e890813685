// The tutorial's steps with the AWS SDK for JavaScript, version 3, and its default handler: HTTP/2 without TLS and with
// prior knowledge, and a connection of its own for every request.
//
// Run as: NODE_PATH=.../node_modules node tutorial.cjs URL
"use strict";

const assert = require("node:assert/strict");
const {
  KinesisClient,
  CreateStreamCommand,
  DeleteStreamCommand,
  DescribeStreamCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  ListShardsCommand,
  ListStreamsCommand,
  MergeShardsCommand,
  PutRecordCommand,
  PutRecordsCommand,
  RegisterStreamConsumerCommand,
  ResourceNotFoundException,
  SplitShardCommand,
  SubscribeToShardCommand,
  waitUntilStreamExists,
  waitUntilStreamNotExists,
} = require("@aws-sdk/client-kinesis");

const client = new KinesisClient({
  endpoint: process.argv[2],
  region: "eu-west-1",
  credentials: { accessKeyId: "any", secretAccessKey: "any" },
});
const StreamName = "people";

const waiting = { client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 };
const text = (record) => Buffer.from(record.Data).toString();

async function read(ShardId) {
  const position = { StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON" };
  let { ShardIterator } = await client.send(new GetShardIteratorCommand(position));
  const records = [];
  for (;;) {
    const reply = await client.send(new GetRecordsCommand({ ShardIterator, Limit: 3 }));
    records.push(...reply.Records);
    if (reply.NextShardIterator === undefined) {
      return { records, children: reply.ChildShards };
    }
    if (reply.Records.length === 0 && reply.MillisBehindLatest === 0) {
      return { records, children: [] };
    }
    ShardIterator = reply.NextShardIterator;
  }
}

// Everything in a shard that is closed, pushed.
async function pushed(StreamARN, ShardId) {
  const { Consumer } = await client.send(new RegisterStreamConsumerCommand({ StreamARN, ConsumerName: "pushed" }));
  const StartingPosition = { Type: "TRIM_HORIZON" };
  const subscription = { ConsumerARN: Consumer.ConsumerARN, ShardId, StartingPosition };
  const { EventStream } = await client.send(new SubscribeToShardCommand(subscription));
  const records = [];
  let children = [];
  for await (const { SubscribeToShardEvent: event } of EventStream) {
    records.push(...event.Records);
    children = event.ChildShards ?? children;
  }
  return { records, children };
}

async function main() {
  await client.send(new CreateStreamCommand({ StreamName, ShardCount: 1 }));
  await waitUntilStreamExists(waiting, { StreamName });
  const { StreamDescription: stream } = await client.send(new DescribeStreamCommand({ StreamName }));
  assert.equal(stream.StreamStatus, "ACTIVE");
  assert.ok(stream.StreamCreationTimestamp instanceof Date);
  assert.ok((await client.send(new ListStreamsCommand({}))).StreamNames.includes(StreamName));

  let last = 0n;
  const put = [];
  for (let age = 10; age < 20; age++) {
    const Data = Buffer.from(JSON.stringify({ age }));
    const reply = await client.send(new PutRecordCommand({ StreamName, Data, PartitionKey: `${age}` }));
    assert.equal(reply.ShardId, "shardId-000000000000");
    assert.match(reply.SequenceNumber, /^[1-9][0-9]{55}$/);
    assert.ok(BigInt(reply.SequenceNumber) > last, "sequence numbers rise");
    last = BigInt(reply.SequenceNumber);
    put.push(JSON.stringify({ age }));
  }
  assert.deepEqual((await read("shardId-000000000000")).records.map(text), put);

  // Ten requests at once are ten connections.
  const replies = await Promise.all(
    put.map((Data) => client.send(new PutRecordCommand({ StreamName, Data: Buffer.from(Data), PartitionKey: "at once" }))),
  );
  assert.equal(new Set(replies.map((reply) => reply.SequenceNumber)).size, put.length, "every put has its own number");
  assert.equal((await read("shardId-000000000000")).records.length, 20);

  // More than the window of a new HTTP/2 connection, in both directions.
  const large = Buffer.alloc(1_000_000, "x");
  const Records = Array.from({ length: 4 }, () => ({ Data: large, PartitionKey: "large" }));
  assert.equal((await client.send(new PutRecordsCommand({ StreamName, Records }))).FailedRecordCount, 0);
  const { records } = await read("shardId-000000000000");
  assert.equal(records.length, 24);
  for (const record of records.slice(20)) {
    assert.ok(large.equals(Buffer.from(record.Data)), "a large record comes back as it was put");
  }

  const ShardToSplit = "shardId-000000000000";
  const NewStartingHashKey = (2n ** 127n).toString();
  await client.send(new SplitShardCommand({ StreamName, ShardToSplit, NewStartingHashKey }));
  await waitUntilStreamExists(waiting, { StreamName });
  const { children, records: all } = await read("shardId-000000000000");
  const { StreamDescription: split } = await client.send(new DescribeStreamCommand({ StreamName }));
  const byPush = await pushed(split.StreamARN, "shardId-000000000000");
  assert.deepEqual(byPush.records.map(text), all.map(text), "what is pushed is what is read");
  assert.deepEqual(byPush.children, children);
  assert.deepEqual(
    children.map(({ ShardId, ParentShards }) => [ShardId, ParentShards]),
    [
      ["shardId-000000000001", ["shardId-000000000000"]],
      ["shardId-000000000002", ["shardId-000000000000"]],
    ],
  );

  const [ShardToMerge, AdjacentShardToMerge] = children.map((child) => child.ShardId);
  await client.send(new MergeShardsCommand({ StreamName, ShardToMerge, AdjacentShardToMerge }));
  await waitUntilStreamExists(waiting, { StreamName });
  const { Shards } = await client.send(new ListShardsCommand({ StreamName, ShardFilter: { Type: "AT_LATEST" } }));
  assert.deepEqual(
    Shards.map((shard) => shard.ShardId),
    ["shardId-000000000003"],
  );

  await client.send(new DeleteStreamCommand({ StreamName, EnforceConsumerDeletion: true }));
  await waitUntilStreamNotExists(waiting, { StreamName });
  const gone = client.send(new DescribeStreamCommand({ StreamName }));
  await assert.rejects(gone, (error) => error instanceof ResourceNotFoundException && /not found/.test(error.message));
}

main().then(
  () => console.log("the AWS SDK for JavaScript: every step as expected"),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);

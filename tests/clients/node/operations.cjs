// Every operation that the AWS SDK for JavaScript, version 3, has, over HTTP/2 without TLS: those that tutorial.cjs and
// channels.cjs do not call, and at the end a look at what is missing in all of them.
//
// Run as: NODE_PATH=.../node_modules node operations.cjs URL
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const kinesis = require("@aws-sdk/client-kinesis");

const client = new kinesis.KinesisClient({
  endpoint: process.argv[2],
  region: "eu-west-1",
  credentials: { accessKeyId: "any", secretAccessKey: "any" },
});
const StreamName = "clicks";

// The operations by their names, without "Command". Each call is counted.
const called = new Set();
const operations = Object.keys(kinesis)
  .filter((name) => /^[A-Z]\w+Command$/.test(name))
  .map((name) => name.slice(0, -"Command".length));
const call = Object.fromEntries(
  operations.map((name) => [
    name,
    (input) => {
      called.add(name);
      return client.send(new kinesis[`${name}Command`](input));
    },
  ]),
);

async function described() {
  const { StreamDescriptionSummary: summary } = await call.DescribeStreamSummary({ StreamName });
  return summary;
}

// A change may take a moment, as it does on AWS.
async function active() {
  for (;;) {
    const summary = await described();
    if (summary.StreamStatus === "ACTIVE") {
      return summary;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function tags(StreamARN) {
  await call.AddTagsToStream({ StreamName, Tags: { team: "web", "cost:center": "ä 1" } });
  await call.TagResource({ ResourceARN: StreamARN, Tags: { owner: "me" } });
  const listed = await call.ListTagsForStream({ StreamName, Limit: 2 });
  assert.deepEqual(listed.Tags, [
    { Key: "cost:center", Value: "ä 1" },
    { Key: "owner", Value: "me" },
  ]);
  assert.equal(listed.HasMoreTags, true);
  await call.RemoveTagsFromStream({ StreamName, TagKeys: ["team"] });
  await call.UntagResource({ ResourceARN: StreamARN, TagKeys: ["owner"] });
  const { Tags } = await call.ListTagsForResource({ ResourceARN: StreamARN });
  assert.deepEqual(Tags, [{ Key: "cost:center", Value: "ä 1" }]);
  await assert.rejects(call.AddTagsToStream({ StreamName, Tags: { "aws:x": "y" } }), {
    name: "InvalidArgumentException",
  });
}

async function limitsAndAccount() {
  const limits = await call.DescribeLimits({});
  assert.ok(limits.OpenShardCount >= 2 && limits.ShardLimit > limits.OpenShardCount);
  assert.ok(limits.OnDemandStreamCountLimit > limits.OnDemandStreamCount);
  const MinimumThroughputBillingCommitment = { Status: "ENABLED" };
  const updated = await call.UpdateAccountSettings({ MinimumThroughputBillingCommitment });
  assert.equal(updated.MinimumThroughputBillingCommitment.Status, "ENABLED");
  const settings = await call.DescribeAccountSettings({});
  assert.equal(settings.MinimumThroughputBillingCommitment.Status, "ENABLED");
  assert.ok(settings.MinimumThroughputBillingCommitment.StartedAt instanceof Date);
}

async function retentionAndSizes(StreamARN) {
  await call.IncreaseStreamRetentionPeriod({ StreamName, RetentionPeriodHours: 48 });
  assert.equal((await active()).RetentionPeriodHours, 48);
  await call.DecreaseStreamRetentionPeriod({ StreamName, RetentionPeriodHours: 24 });
  await call.UpdateMaxRecordSize({ StreamARN, MaxRecordSizeInKiB: 2048 });
  const summary = await active();
  assert.deepEqual([summary.RetentionPeriodHours, summary.MaxRecordSizeInKiB], [24, 2048]);
}

async function shardsAndModes(StreamARN) {
  const ScalingType = "UNIFORM_SCALING";
  const updated = await call.UpdateShardCount({ StreamName, TargetShardCount: 4, ScalingType });
  assert.deepEqual([updated.CurrentShardCount, updated.TargetShardCount], [2, 4]);
  assert.equal((await active()).OpenShardCount, 4);
  await assert.rejects(call.UpdateShardCount({ StreamName, TargetShardCount: 100, ScalingType }), {
    name: "LimitExceededException",
  });

  const mode = (StreamMode) => call.UpdateStreamMode({ StreamARN, StreamModeDetails: { StreamMode } });
  await mode("ON_DEMAND");
  assert.equal((await active()).StreamModeDetails.StreamMode, "ON_DEMAND");
  const warm = await call.UpdateStreamWarmThroughput({ StreamARN, WarmThroughputMiBps: 4 });
  assert.equal(warm.WarmThroughput.TargetMiBps, 4);
  await active();
  await call.UpdateStreamRecordDistributionStrategy({ StreamARN, RecordDistributionStrategy: "AUTO" });
  assert.equal((await active()).RecordDistributionStrategy, "AUTO");
  assert.ok((await call.PutRecord({ StreamName, Data: Buffer.from("without a key") })).SequenceNumber);
  const RecordDistributionStrategy = "USER_PARTITION_KEY";
  await call.UpdateStreamRecordDistributionStrategy({ StreamARN, RecordDistributionStrategy });
  await active();
  await mode("PROVISIONED");
  await active();
}

async function encryptionAndMonitoring() {
  const key = { StreamName, EncryptionType: "KMS", KeyId: "alias/any" };
  await call.StartStreamEncryption(key);
  const { EncryptionType, KeyId } = await active();
  assert.deepEqual([EncryptionType, KeyId], ["KMS", "alias/any"]);
  await call.StopStreamEncryption(key);
  assert.equal((await active()).EncryptionType, "NONE");

  const enabled = await call.EnableEnhancedMonitoring({ StreamName, ShardLevelMetrics: ["ALL"] });
  assert.deepEqual([enabled.CurrentShardLevelMetrics.length, enabled.DesiredShardLevelMetrics.length], [0, 7]);
  await active();
  const disabled = await call.DisableEnhancedMonitoring({ StreamName, ShardLevelMetrics: ["IncomingBytes"] });
  assert.equal(disabled.DesiredShardLevelMetrics.length, 6);
  await active();
}

async function policies(ResourceARN) {
  assert.equal((await call.GetResourcePolicy({ ResourceARN })).Policy, "{}");
  const Statement = [{ Effect: "Allow", Principal: "*", Action: "kinesis:DescribeStream", Resource: ResourceARN }];
  const Policy = JSON.stringify({ Version: "2012-10-17", Statement });
  await call.PutResourcePolicy({ ResourceARN, Policy });
  assert.equal((await call.GetResourcePolicy({ ResourceARN })).Policy, Policy);
  await call.DeleteResourcePolicy({ ResourceARN });
  await assert.rejects(call.DeleteResourcePolicy({ ResourceARN }), { name: "ResourceNotFoundException" });
}

async function consumers(StreamARN) {
  const { Consumer } = await call.RegisterStreamConsumer({ StreamARN, ConsumerName: "app", Tags: { team: "web" } });
  const { ConsumerARN } = Consumer;
  const { ConsumerDescription } = await call.DescribeStreamConsumer({ ConsumerARN });
  assert.deepEqual([ConsumerDescription.ConsumerStatus, ConsumerDescription.StreamARN], ["ACTIVE", StreamARN]);
  const { Consumers } = await call.ListStreamConsumers({ StreamARN });
  assert.deepEqual(
    Consumers.map((consumer) => consumer.ConsumerName),
    ["app"],
  );

  const StartingPosition = { Type: "LATEST" };
  const subscription = { ConsumerARN, ShardId: "shardId-000000000002", StartingPosition };
  const { EventStream } = await call.SubscribeToShard(subscription);
  await assert.rejects(call.SubscribeToShard(subscription), { name: "ResourceInUseException" });
  // The first half of the hash keys, which another shard has now.
  const put = { StreamName, PartitionKey: "k", ExplicitHashKey: "0", Data: Buffer.from("pushed") };
  const { ShardId } = await call.PutRecord(put);
  assert.equal(ShardId, "shardId-000000000002");
  for await (const { SubscribeToShardEvent: event } of EventStream) {
    assert.ok(event.ContinuationSequenceNumber);
    if (event.Records.length > 0) {
      assert.equal(Buffer.from(event.Records[0].Data).toString(), "pushed");
      break;
    }
  }
  await call.DeregisterStreamConsumer({ StreamARN, ConsumerName: "app" });
  await assert.rejects(call.DescribeStreamConsumer({ ConsumerARN }), { name: "ResourceNotFoundException" });
}

async function main() {
  await call.CreateStream({ StreamName, ShardCount: 2, Tags: { made: "here" } });
  const { StreamARN } = await active();
  await call.RemoveTagsFromStream({ StreamName, TagKeys: ["made"] });
  await tags(StreamARN);
  await limitsAndAccount();
  await retentionAndSizes(StreamARN);
  await shardsAndModes(StreamARN);
  await encryptionAndMonitoring();
  await policies(StreamARN);
  await consumers(StreamARN);
  await call.DeleteStream({ StreamName });

  const others = ["tutorial.cjs", "channels.cjs"].map((name) => fs.readFileSync(path.join(__dirname, name), "utf8"));
  const missed = operations.filter((name) => !called.has(name) && !others.some((text) => text.includes(`new ${name}Command`)));
  assert.deepEqual(missed, [], "no script calls these");
}

main().then(
  () => {
    console.log("the AWS SDK for JavaScript: every operation as expected");
    // A subscription that was left is not waited for.
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);

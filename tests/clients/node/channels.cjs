// Channels and encryption with the AWS SDK for JavaScript, over HTTP/2. Its newest version has no queues.
//
// Run as: NODE_PATH=.../node_modules node channels.cjs URL DIRECTORY-OF-BUCKETS
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const zlib = require("node:zlib");
const {
  KinesisClient,
  CreateChannelCommand,
  CreateStreamCommand,
  DeleteChannelCommand,
  DeleteStreamCommand,
  DescribeChannelCommand,
  DescribeStreamSummaryCommand,
  InvalidArgumentException,
  ListChannelsCommand,
  PutRecordCommand,
  ResourceInUseException,
  ResourceNotFoundException,
  StartStreamEncryptionCommand,
  StopStreamEncryptionCommand,
  UpdateChannelCommand,
} = require("@aws-sdk/client-kinesis");

const [, , endpoint, buckets] = process.argv;
const client = new KinesisClient({
  endpoint,
  region: "eu-west-1",
  credentials: { accessKeyId: "any", secretAccessKey: "any" },
});
const call = (command) => client.send(command);
const StreamName = "clicks";

function configuration(bucket) {
  return {
    ChannelName: "archive",
    ServiceExecutionRoleARN: "arn:aws:iam::000000000000:role/deliver",
    StreamConfigurationList: [
      {
        StreamARN: `arn:aws:kinesis:eu-west-1:000000000000:stream/${StreamName}`,
        RecordConfiguration: { RecordFormatType: "STRING" },
      },
    ],
    S3DestinationConfiguration: {
      StorageConfiguration: {
        BucketARN: `arn:aws:s3:::${bucket}`,
        ExpectedBucketOwner: "000000000000",
        CompressionType: "GZIP",
        OutputKeyTemplate: "clicks/!{yyyy}!{extension}",
      },
    },
  };
}

function delivered() {
  const directory = path.join(buckets, "clicks-archive", "clicks");
  const objects = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
  const whole = objects.filter((name) => name.endsWith(".txt.gz"));
  const texts = whole.map((name) => zlib.gunzipSync(fs.readFileSync(path.join(directory, name))).toString());
  return texts.flatMap((text) => text.split("\n")).filter((line) => line !== "");
}

async function main() {
  fs.mkdirSync(path.join(buckets, "clicks-archive"), { recursive: true });
  await call(new CreateStreamCommand({ StreamName, StreamModeDetails: { StreamMode: "ON_DEMAND" } }));
  await assert.rejects(call(new CreateChannelCommand(configuration("not-there"))), InvalidArgumentException);
  const { ChannelDescription: channel } = await call(new CreateChannelCommand(configuration("clicks-archive")));
  assert.equal(channel.ChannelStatus, "ACTIVE");
  const { ChannelARN } = channel;
  const described = await call(new DescribeChannelCommand({ ChannelARN }));
  assert.deepEqual(described.ChannelDescription, channel);
  const { ChannelSummaries } = await call(new ListChannelsCommand({}));
  assert.deepEqual(ChannelSummaries.map((one) => [one.ChannelName, one.ChannelDestinationType]), [["archive", "S3"]]);

  // What is encrypted on the disk is delivered plain.
  await call(new StartStreamEncryptionCommand({ StreamName, EncryptionType: "KMS", KeyId: "alias/mine" }));
  for (let number = 0; number < 20; number += 1) {
    const Data = Buffer.from(`click ${number}`);
    const put = await call(new PutRecordCommand({ StreamName, PartitionKey: `user-${number}`, Data }));
    assert.equal(put.EncryptionType, "KMS");
  }
  await call(new StopStreamEncryptionCommand({ StreamName, EncryptionType: "KMS", KeyId: "alias/mine" }));
  const until = Date.now() + 60_000;
  while (new Set(delivered()).size < 20) {
    assert.ok(Date.now() < until, `only these are delivered: ${delivered()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  const update = { ChannelARN, S3DestinationConfiguration: { DataFreshnessInSeconds: 900 } };
  const { ChannelDescription: updated } = await call(new UpdateChannelCommand(update));
  assert.equal(updated.S3DestinationConfiguration.DataFreshnessInSeconds, 900);
  const summary = await call(new DescribeStreamSummaryCommand({ StreamName }));
  assert.equal(summary.StreamDescriptionSummary.ChannelCount, 1);
  await assert.rejects(call(new DeleteStreamCommand({ StreamName })), ResourceInUseException);
  await call(new DeleteChannelCommand({ ChannelARN }));
  await assert.rejects(call(new DescribeChannelCommand({ ChannelARN })), ResourceNotFoundException);
  await call(new DeleteStreamCommand({ StreamName }));
  console.log("channels: what the SDK put is in the bucket");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

"""Channels with boto3: a stream is delivered into a bucket, which is read again with S3's own client.

    python channels_boto3.py URL S3-URL
"""

import json
import sys
import zlib

import boto3

from expect import expect, expect_equal, until

kinesis = boto3.client("kinesis", endpoint_url=sys.argv[1], region_name="eu-west-1")
s3 = boto3.client("s3", endpoint_url=sys.argv[2], region_name="eu-west-1")

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deliver"

for bucket in ("clicks-archive", "clicks-errors"):
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
kinesis.create_stream(StreamName="clicks", StreamModeDetails={"StreamMode": "ON_DEMAND"})
kinesis.get_waiter("stream_exists").wait(StreamName="clicks")
stream = kinesis.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamARN"]


def create(name, bucket, **more):
    return kinesis.create_channel(
        ChannelName=name,
        ServiceExecutionRoleARN=ROLE,
        StreamConfigurationList=[{"StreamARN": stream, "RecordConfiguration": {"RecordFormatType": "JSON"}}],
        S3DestinationConfiguration={
            "DeadLetterQueueS3Configuration": {
                "BucketARN": "arn:aws:s3:::clicks-errors",
                "ExpectedBucketOwner": ACCOUNT,
                "ErrorOutputPrefix": "not-json/",
            },
            "StorageConfiguration": {
                "BucketARN": f"arn:aws:s3:::{bucket}",
                "ExpectedBucketOwner": ACCOUNT,
                "CompressionType": "GZIP",
                "StorageClass": "INTELLIGENT_TIERING",
            },
        },
        **more,
    )["ChannelDescription"]


try:
    create("nowhere", "not-there")
    expect(False, "a channel to a bucket that is not there was made")
except kinesis.exceptions.InvalidArgumentException:
    pass
channel = create("archive", "clicks-archive", Tags={"stage": "test"})
arn = channel["ChannelARN"]
kinesis.get_waiter("channel_active").wait(ChannelARN=arn)
expect_equal(kinesis.describe_channel(ChannelARN=arn)["ChannelDescription"], channel, "DescribeChannel")
pages = kinesis.get_paginator("list_channels").paginate()
names = [one["ChannelName"] for page in pages for one in page["ChannelSummaries"]]
expect_equal(names, ["archive"], "ListChannels")
expect_equal(kinesis.list_tags_for_resource(ResourceARN=arn)["Tags"], [{"Key": "stage", "Value": "test"}], "tags")

clicks = [{"user": number % 7, "click": number} for number in range(100)]
for click in clicks:
    kinesis.put_record(StreamName="clicks", PartitionKey=str(click["user"]), Data=json.dumps(click).encode())
kinesis.put_record(StreamName="clicks", PartitionKey="0", Data=b"no json")


def objects(bucket):
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {one["Key"]: s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed}


def delivered():
    texts = [zlib.decompress(body, wbits=31) for body in objects("clicks-archive").values()]
    return [json.loads(line) for text in texts for line in text.splitlines()]


until("all clicks are in the bucket", lambda: {one["click"] for one in delivered()} == set(range(100)))
for user in range(7):
    of_user = [one["click"] for one in delivered() if one["user"] == user]
    expect_equal(of_user, sorted(of_user), f"the clicks of user {user} in their order")
first = min(objects("clicks-archive"))
expect(first.startswith(f"kinesis-channel/archive/{channel['ChannelId']}/20"), first)
expect(first.endswith(".json.gz"), first)
kept = s3.head_object(Bucket="clicks-archive", Key=first)
expect_equal(kept["StorageClass"], "INTELLIGENT_TIERING", "StorageClass")
until("the record that is no JSON is apart", lambda: len(objects("clicks-errors")) == 1)
(key, body), = objects("clicks-errors").items()
expect(key.startswith("not-json/"), key)
expect_equal(json.loads(body)["errorCode"], "InvalidJson", "errorCode")

updated = kinesis.update_channel(ChannelARN=arn, S3DestinationConfiguration={"DataFreshnessInSeconds": 600})
freshness = updated["ChannelDescription"]["S3DestinationConfiguration"]["DataFreshnessInSeconds"]
expect_equal(freshness, 600, "UpdateChannel")
try:
    kinesis.delete_stream(StreamName="clicks", EnforceConsumerDeletion=True)
    expect(False, "a stream with a channel was deleted")
except kinesis.exceptions.ResourceInUseException:
    pass
kinesis.delete_channel(ChannelARN=arn)
kinesis.delete_stream(StreamName="clicks", EnforceConsumerDeletion=True)
print("channels: what boto3 put is in the bucket")

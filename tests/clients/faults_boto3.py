"""What boto3 makes of faults: the first puts are throttled, fail, and lose an answer; it tries again.

    python faults_boto3.py URL
"""

import sys

import boto3
from botocore.config import Config

from expect import expect, expect_equal

config = Config(retries={"mode": "standard", "max_attempts": 8})
kinesis = boto3.client("kinesis", endpoint_url=sys.argv[1], region_name="eu-west-1", config=config)

kinesis.create_stream(StreamName="faulty", ShardCount=1)
put = kinesis.put_record(StreamName="faulty", PartitionKey="k", Data=b"once or twice")
retries = put["ResponseMetadata"]["RetryAttempts"]
expect_equal(retries, 3, "how often boto3 tried again: throttled, failed, without an answer")

batch = [{"PartitionKey": "k", "Data": b"x"}] * 100
reply = kinesis.put_records(StreamName="faulty", Records=batch)
failed = [record for record in reply["Records"] if "ErrorCode" in record]
expect_equal(reply["FailedRecordCount"], len(failed), "FailedRecordCount")
expect(0 < len(failed) < 100, f"some of the records were throttled: {len(failed)}")
expect_equal({record["ErrorCode"] for record in failed}, {"ProvisionedThroughputExceededException"}, "the errors")

position = kinesis.get_shard_iterator(StreamName="faulty", ShardId=put["ShardId"], ShardIteratorType="TRIM_HORIZON")
records = kinesis.get_records(ShardIterator=position["ShardIterator"])["Records"]
# The call whose answer was lost had its effect: the record is there twice, as on AWS.
expected = [b"once or twice"] * 2 + [b"x"] * (100 - len(failed))
expect_equal([record["Data"] for record in records], expected, "what is stored")
print("faults: boto3 tried again where it should")

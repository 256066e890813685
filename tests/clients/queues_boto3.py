"""Queues with boto3: a worker that fails, dead letters, and a worker that does not.

    python queues_boto3.py URL
"""

import sys

import boto3

from expect import expect, expect_equal, until

kinesis = boto3.client("kinesis", endpoint_url=sys.argv[1], region_name="eu-west-1")

kinesis.create_stream(StreamName="jobs", StreamModeDetails={"StreamMode": "ON_DEMAND"})
kinesis.get_waiter("stream_exists").wait(StreamName="jobs")
stream = kinesis.describe_stream_summary(StreamName="jobs")["StreamDescriptionSummary"]["StreamARN"]
queue = kinesis.create_queue(
    QueueName="resize",
    StreamConfigurationList=[{"StreamARN": stream, "StartingPosition": {"Type": "TRIM_HORIZON"}}],
    QueueAttributes={
        "VisibilityTimeoutSeconds": 60,
        "DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": 1},
    },
    Tags={"stage": "test"},
)["QueueDescription"]
arn = queue["QueueARN"]
expect_equal(queue["QueueStatus"], "ACTIVE", "QueueStatus")
expect_equal(kinesis.describe_queue(QueueARN=arn)["QueueDescription"], queue, "DescribeQueue")
names = [one["QueueName"] for page in kinesis.get_paginator("list_queues").paginate() for one in page["QueueSummaries"]]
expect_equal(names, ["resize"], "ListQueues")
expect_equal(kinesis.list_tags_for_resource(ResourceARN=arn)["Tags"], [{"Key": "stage", "Value": "test"}], "tags")

updated = kinesis.update_queue(QueueARN=arn, QueueAttributes={"VisibilityTimeoutSeconds": 90})["QueueDescription"]
attributes = {**queue["QueueAttributes"], "VisibilityTimeoutSeconds": 90}
expect_equal(updated, {**queue, "QueueAttributes": attributes}, "UpdateQueue")

for name in ("good", "bad"):
    kinesis.put_record(StreamName="jobs", PartitionKey=name, Data=name.encode())
received = {}


def receive_all():
    for record in kinesis.receive_queue_records(QueueARN=arn, WaitTimeSeconds=5)["QueueRecords"]:
        received[record["Data"]] = record
    return len(received) == 2


until("both jobs are received", receive_all)
good, bad = received[b"good"], received[b"bad"]
expect_equal((good["PartitionKey"], good["ReceiveCount"]), ("good", 1), "a job")
done = kinesis.acknowledge_queue_records(
    QueueARN=arn, Entries=[{"ReceiptHandle": good["ReceiptHandle"]}, {"ReceiptHandle": "forged"}]
)
expect_equal([one["ReceiptHandle"] for one in done["Successful"]], [good["ReceiptHandle"]], "Successful")
expect_equal([one["ErrorCode"] for one in done["Failed"]], ["InvalidArgumentException"], "Failed")


def entry(record):
    return {"ReceiptHandle": record["ReceiptHandle"]}


def freed(record):
    return {**entry(record), "VisibilityTimeoutSeconds": 0}


def receive_dead_letter():
    """The only one there is, which is the bad job."""
    dead = kinesis.receive_dead_letter_queue_records(QueueARN=arn, WaitTimeSeconds=5)["QueueRecords"]
    expect_equal([(one["RecordId"], one["Data"]) for one in dead], [(bad["RecordId"], b"bad")], "dead letters")
    return dead[0]


def expect_done(outcome, record, what):
    expect_equal((outcome["Successful"], outcome["Failed"]), ([entry(record)], []), what)


outcome = kinesis.update_queue_records_visibility(QueueARN=arn, Entries=[freed(bad)])
expect_done(outcome, bad, "UpdateQueueRecordsVisibility")
dead = receive_dead_letter()
outcome = kinesis.update_dead_letter_queue_records_visibility(QueueARN=arn, Entries=[freed(dead)])
expect_done(outcome, dead, "UpdateDeadLetterQueueRecordsVisibility")
dead = receive_dead_letter()
outcome = kinesis.restore_dead_letter_queue_records(QueueARN=arn, Entries=[entry(dead)])
expect_done(outcome, dead, "RestoreDeadLetterQueueRecords")
again = kinesis.receive_queue_records(QueueARN=arn, WaitTimeSeconds=5)["QueueRecords"]
expect_equal([one["RecordId"] for one in again], [bad["RecordId"]], "the restored job")

# It fails once more, and is given up.
kinesis.update_queue_records_visibility(QueueARN=arn, Entries=[freed(again[0])])
dead = receive_dead_letter()
outcome = kinesis.acknowledge_dead_letter_queue_records(QueueARN=arn, Entries=[entry(dead)])
expect_done(outcome, dead, "AcknowledgeDeadLetterQueueRecords")
left = kinesis.receive_dead_letter_queue_records(QueueARN=arn, WaitTimeSeconds=1)["QueueRecords"]
expect_equal(left, [], "no dead letters")
expect_equal(kinesis.receive_queue_records(QueueARN=arn, WaitTimeSeconds=1)["QueueRecords"], [], "an empty queue")

try:
    kinesis.delete_stream(StreamName="jobs", EnforceConsumerDeletion=True)
    expect(False, "a stream with a queue was deleted")
except kinesis.exceptions.ResourceInUseException:
    pass
kinesis.delete_queue(QueueARN=arn)
kinesis.delete_stream(StreamName="jobs", EnforceConsumerDeletion=True)
print("queues: boto3 works off what there is")

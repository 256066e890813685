"""The tutorial with boto3, as docs/tutorial.md tells it, and with a check after each step.

    python tutorial_boto3.py                          all of it, against http://127.0.0.1:4567
    python tutorial_boto3.py URL before STATE_FILE    up to where the server is stopped
    python tutorial_boto3.py URL after STATE_FILE     from where it is there again
    python tutorial_boto3.py URL follow               the second shell
"""

import json
import subprocess
import sys
import tempfile
import time

import boto3
import fake_gen as testdata
from botocore.exceptions import ClientError

from expect import Deadline, SequenceNumbers, expect, expect_equal, shard_of

ENDPOINT = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:4567"

kinesis = boto3.client("kinesis", endpoint_url=ENDPOINT, region_name="eu-west-1")


class People(testdata.DictFactory):
    first_name = testdata.FakeDataFactory("first_name")
    last_name = testdata.FakeDataFactory("last_name")
    age = testdata.RandomInteger(10, 30)
    gender = testdata.RandomSelection(["F", "M"])


def describe():
    return kinesis.describe_stream(StreamName="people")["StreamDescription"]


# 1. A stream


def create_a_stream():
    kinesis.create_stream(StreamName="people", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="people", WaiterConfig={"Delay": 1})
    stream = kinesis.describe_stream(StreamName="people")["StreamDescription"]
    print(stream["StreamStatus"], [shard["ShardId"] for shard in stream["Shards"]])
    print(kinesis.list_streams()["StreamNames"])

    expect_equal(stream["StreamName"], "people", "the stream's name")
    expect_equal(stream["StreamStatus"], "ACTIVE", "the stream's status")
    expect_equal(stream["StreamARN"].split(":", 4)[:4], ["arn", "aws", "kinesis", "eu-west-1"], "the start of the ARN")
    expect(stream["StreamARN"].endswith(":stream/people"), f"the ARN {stream['StreamARN']} names the stream")
    expect_equal(stream["RetentionPeriodHours"], 24, "the retention")
    expect_equal(stream["HasMoreShards"], False, "HasMoreShards")
    expect_equal([shard["ShardId"] for shard in stream["Shards"]], ["shardId-000000000000"], "the shards")
    everything = {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)}
    expect_equal(stream["Shards"][0]["HashKeyRange"], everything, "the hash keys of the only shard")
    expect_equal(kinesis.list_streams()["StreamNames"], ["people"], "the streams")
    try:
        kinesis.create_stream(StreamName="people", ShardCount=1)
        raise AssertionError("a second stream of the same name was created")
    except kinesis.exceptions.ResourceInUseException as refused:
        expect("already exists" in str(refused), f"the refusal says why: {refused}")


# 2. Records in, and 3. records out


def put_people(numbers):
    people = list(People().generate(50))
    for person in people:
        put = kinesis.put_record(StreamName="people", Data=json.dumps(person), PartitionKey=person["last_name"])
        print(put["ShardId"], put["SequenceNumber"])

        expect_equal(put["ShardId"], "shardId-000000000000", "the shard of a put")
        numbers.expect_next(put["SequenceNumber"])
    return people


def follow():
    """What the second shell does."""
    iterator = kinesis.get_shard_iterator(
        StreamName="people", ShardId="shardId-000000000000", ShardIteratorType="LATEST"
    )["ShardIterator"]
    print("reading", flush=True)

    deadline = Deadline("50 people arrive")
    ages = []
    while len(ages) < 50:
        reply = kinesis.get_records(ShardIterator=iterator, Limit=2)
        for record in reply["Records"]:
            ages.append(json.loads(record["Data"])["age"])
            print(f"{len(ages)} people, on average {sum(ages) / len(ages):.2f} years old")
        iterator = reply["NextShardIterator"]
        time.sleep(0.2 if not reply["Records"] else 0)

        expect(len(reply["Records"]) <= 2, f"Limit=2 gave {len(reply['Records'])} records")
        deadline.check()


def put_while_another_process_follows(numbers):
    follower = subprocess.Popen([sys.executable, __file__, ENDPOINT, "follow"], stdout=subprocess.PIPE, text=True)
    try:
        expect_equal(follower.stdout.readline(), "reading\n", "what the follower says when it has its iterator")
        people = put_people(numbers)
        said, _ = follower.communicate(timeout=60)
    finally:
        follower.kill()
    expect_equal(follower.returncode, 0, "the follower's exit status")
    ages = [person["age"] for person in people]
    averages = [
        f"{count} people, on average {sum(ages[:count]) / count:.2f} years old" for count in range(1, len(ages) + 1)
    ]
    expect_equal(said.splitlines(), averages, "the running average")
    return people


# 4. A split


def split_the_shard():
    shard = kinesis.describe_stream(StreamName="people")["StreamDescription"]["Shards"][0]
    half = int(shard["HashKeyRange"]["EndingHashKey"]) // 2

    a_float = str(int(shard["HashKeyRange"]["EndingHashKey"]) / 2)
    try:
        kinesis.split_shard(StreamName="people", ShardToSplit=shard["ShardId"], NewStartingHashKey=a_float)
        raise AssertionError(f"a shard was split at {a_float}")
    except ClientError as refused:
        expect_equal(refused.response["Error"]["Code"], "ValidationException", f"the refusal of {a_float}")

    kinesis.split_shard(StreamName="people", ShardToSplit=shard["ShardId"], NewStartingHashKey=str(half))
    kinesis.get_waiter("stream_exists").wait(StreamName="people", WaiterConfig={"Delay": 1})

    parent, low, high = describe()["Shards"]
    expect_equal(parent["ShardId"], "shardId-000000000000", "the parent")
    expect("EndingSequenceNumber" in parent["SequenceNumberRange"], "the parent is closed")
    ends = parent["SequenceNumberRange"]["EndingSequenceNumber"]
    for child, shard_id, start, end in [
        (low, "shardId-000000000001", 0, half - 1),
        (high, "shardId-000000000002", half, 2**128 - 1),
    ]:
        expect_equal(child["ShardId"], shard_id, "a child's id")
        expect_equal(child["ParentShardId"], "shardId-000000000000", f"the parent of {shard_id}")
        expect("AdjacentParentShardId" not in child, f"{shard_id} has one parent")
        keys = {"StartingHashKey": str(start), "EndingHashKey": str(end)}
        expect_equal(child["HashKeyRange"], keys, f"the hash keys of {shard_id}")
        expect("EndingSequenceNumber" not in child["SequenceNumberRange"], f"{shard_id} is open")
        starts = child["SequenceNumberRange"]["StartingSequenceNumber"]
        expect(int(starts) > int(ends), f"{shard_id} starts at {starts}, which is not after its parent's end {ends}")


def put_by_gender(numbers):
    shards = describe()["Shards"]
    landed = {"F": set(), "M": set()}
    people = list(People().generate(50))
    children = {"shardId-000000000001": [], "shardId-000000000002": []}
    in_shard = {shard_id: SequenceNumbers(numbers.greatest) for shard_id in children}
    for person in people:
        put = kinesis.put_record(StreamName="people", Data=json.dumps(person), PartitionKey=person["gender"])
        print(person["gender"], put["ShardId"], put["SequenceNumber"])

        landed[person["gender"]].add(put["ShardId"])
        in_shard[put["ShardId"]].expect_next(put["SequenceNumber"])
        children[put["ShardId"]].append(person)
    for gender, shard_ids in landed.items():
        expect_equal(shard_ids, {shard_of(gender, shards)}, f"the shards that {gender} lands in")
    expect_equal(landed["F"] & landed["M"], set(), "shards that both genders land in")
    numbers.greatest = max(of_shard.greatest for of_shard in in_shard.values())
    return children


# 5. Reading parents first


def read_shard(shard_id):
    """The records of a shard, and its children if it is closed."""
    iterator = kinesis.get_shard_iterator(
        StreamName="people", ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = []
    deadline = Deadline(f"{shard_id} is read to its end")
    while True:
        reply = kinesis.get_records(ShardIterator=iterator, Limit=20)
        records += reply["Records"]
        if "NextShardIterator" not in reply:  # closed, and read to its end
            return records, reply["ChildShards"]
        expect("ChildShards" not in reply, f"{shard_id} goes on, and yet it names children")
        deadline.check()
        if not reply["Records"] and reply["MillisBehindLatest"] == 0:  # open, and nothing new
            return records, []
        iterator = reply["NextShardIterator"]


def read_parents_first():
    records, drained, to_read = [], set(), ["shardId-000000000000"]
    while to_read:
        shard_id = to_read.pop(0)
        of_shard, children = read_shard(shard_id)
        records += of_shard
        drained.add(shard_id)
        for child in children:
            if child["ShardId"] not in to_read and drained.issuperset(child["ParentShards"]):
                to_read.append(child["ShardId"])
    return records


def people_in(records):
    return [json.loads(record["Data"]) for record in records]


def check_what_is_read_after_the_split(first, children):
    records, named = read_shard("shardId-000000000000")
    expect_equal(people_in(records), first, "the people in the parent")
    expect_equal([child["ShardId"] for child in named], list(children), "the children that the parent's end names")
    for child in named:
        expect_equal(child["ParentShards"], ["shardId-000000000000"], f"the parents of {child['ShardId']}")
        listed = next(shard for shard in describe()["Shards"] if shard["ShardId"] == child["ShardId"])
        expect_equal(child["HashKeyRange"], listed["HashKeyRange"], f"the hash keys of {child['ShardId']}")
    everybody = first + children["shardId-000000000001"] + children["shardId-000000000002"]
    expect_equal(people_in(read_parents_first()), everybody, "the whole stream, parents first")
    return everybody


# 6. A merge


def merge_the_children(numbers):
    kinesis.merge_shards(
        StreamName="people", ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002"
    )
    kinesis.get_waiter("stream_exists").wait(StreamName="people", WaiterConfig={"Delay": 1})

    merged = describe()["Shards"][3]
    expect_equal(merged["ShardId"], "shardId-000000000003", "the merged shard")
    expect_equal(merged["ParentShardId"], "shardId-000000000001", "its parent")
    expect_equal(merged["AdjacentParentShardId"], "shardId-000000000002", "its adjacent parent")
    everything = {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)}
    expect_equal(merged["HashKeyRange"], everything, "its hash keys")
    for shard_id in ["shardId-000000000001", "shardId-000000000002"]:
        _, children = read_shard(shard_id)
        named = [(child["ShardId"], child["ParentShards"]) for child in children]
        parents = ["shardId-000000000001", "shardId-000000000002"]
        expect_equal(named, [("shardId-000000000003", parents)], f"what the end of {shard_id} names")

    people = list(People().generate(50))
    for person in people:
        put = kinesis.put_record(StreamName="people", Data=json.dumps(person), PartitionKey=str(person["age"]))
        expect_equal(put["ShardId"], "shardId-000000000003", "the shard of a put after the merge")
        numbers.expect_next(put["SequenceNumber"])
    return people


# 7. Many records at once


def put_in_fives(numbers):
    people = list(People().generate(50))
    for start in range(0, len(people), 5):
        records = [
            {"Data": json.dumps(person), "PartitionKey": person["last_name"]} for person in people[start : start + 5]
        ]
        reply = kinesis.put_records(StreamName="people", Records=records)
        print(reply["FailedRecordCount"], [put["SequenceNumber"] for put in reply["Records"]])

        expect_equal(reply["FailedRecordCount"], 0, "FailedRecordCount")
        expect_equal(len(reply["Records"]), 5, "the number of results")
        for put in reply["Records"]:
            expect_equal(put["ShardId"], "shardId-000000000003", "the shard of a put among five")
            numbers.expect_next(put["SequenceNumber"])
    return people


# 8. The next day: the server is stopped and started again


def readable(records):
    return [[record["SequenceNumber"], record["PartitionKey"], record["Data"].decode()] for record in records]


def remember(state_file, everybody):
    records = read_parents_first()
    expect_equal(people_in(records), everybody, "the whole stream before the restart")

    begin = kinesis.get_shard_iterator(
        StreamName="people", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    middle = kinesis.get_records(ShardIterator=begin, Limit=2)["NextShardIterator"]
    latest = kinesis.get_shard_iterator(
        StreamName="people", ShardId="shardId-000000000003", ShardIteratorType="LATEST"
    )["ShardIterator"]
    state = {
        "stream": json.loads(json.dumps(describe(), default=str)),
        "records": readable(records),
        "arrivals": [str(record["ApproximateArrivalTimestamp"]) for record in records],
        "iterators": {"begin": begin, "middle": middle, "latest": latest},
    }
    with open(state_file, "w", encoding="utf-8") as file:
        json.dump(state, file)


def check_that_all_is_as_it_was(state_file):
    with open(state_file, encoding="utf-8") as file:
        state = json.load(file)
    stream = json.loads(json.dumps(describe(), default=str))
    expect_equal(stream, state["stream"], "the stream's description after the restart")
    expect_equal(kinesis.list_streams()["StreamNames"], ["people"], "the streams after the restart")
    records = read_parents_first()
    expect_equal(readable(records), state["records"], "the records after the restart")
    arrivals = [str(record["ApproximateArrivalTimestamp"]) for record in records]
    expect_equal(arrivals, state["arrivals"], "the arrival times after the restart")

    iterators = state["iterators"]
    for name, skipped in [("begin", 0), ("middle", 2)]:
        reply = kinesis.get_records(ShardIterator=iterators[name], Limit=10)
        expected = state["records"][skipped : skipped + 10]
        expect_equal(readable(reply["Records"]), expected, f"what the iterator {name} of before the restart gives")
    reply = kinesis.get_records(ShardIterator=iterators["latest"])
    expect_equal(reply["Records"], [], "what the iterator latest of before the restart gives")
    put = kinesis.put_record(StreamName="people", Data=b"good morning", PartitionKey="people")
    SequenceNumbers(records[-1]["SequenceNumber"]).expect_next(put["SequenceNumber"])
    for iterator in [iterators["latest"], reply["NextShardIterator"]]:
        news = kinesis.get_records(ShardIterator=iterator)["Records"]
        expected = [[put["SequenceNumber"], "people", "good morning"]]
        expect_equal(readable(news), expected, "what was put after the restart, by an iterator of before")


# Beside the tutorial: what else the API offers


def check_tags():
    tags = {f"tag {number}": f"value {number}" for number in range(10, 30)}
    kinesis.create_stream(StreamName="tagged", ShardCount=1, Tags=tags)
    kinesis.get_waiter("stream_exists").wait(StreamName="tagged", WaiterConfig={"Delay": 1})
    arn = kinesis.describe_stream_summary(StreamName="tagged")["StreamDescriptionSummary"]["StreamARN"]
    listed, page = [], {"HasMoreTags": True}
    while page["HasMoreTags"]:
        start = {"ExclusiveStartTagKey": listed[-1]["Key"]} if listed else {}
        page = kinesis.list_tags_for_stream(StreamARN=arn, Limit=8, **start)
        listed += page["Tags"]
    expect_equal(listed, [{"Key": key, "Value": tags[key]} for key in sorted(tags)], "the tags of the stream")
    expect_equal(kinesis.list_tags_for_stream(StreamName="people")["Tags"], [], "the tags of a stream without any")
    kinesis.delete_stream(StreamName="tagged")
    kinesis.get_waiter("stream_not_exists").wait(StreamName="tagged", WaiterConfig={"Delay": 1})


def check_the_calls_of_terraform():
    """What its stream resource sends for tags and limits: by the name of the stream, in chunks of ten."""
    limits = kinesis.describe_limits()
    expect(limits["OpenShardCount"] + 1 <= limits["ShardLimit"], f"one more shard is planned: {limits}")
    on_demand = limits["OnDemandStreamCount"] + 1
    expect(on_demand <= limits["OnDemandStreamCountLimit"], f"one more stream on demand is planned: {limits}")

    first = {"team:owner": "arn:aws:iam::123456789012:role/x", "Name": "planned"}
    kinesis.create_stream(StreamName="planned", ShardCount=1, Tags=first)
    kinesis.get_waiter("stream_exists").wait(StreamName="planned", WaiterConfig={"Delay": 1})
    expect_equal(tags_of("planned"), first, "the tags that the stream was created with")
    expect_equal(kinesis.describe_limits()["OpenShardCount"], limits["OpenShardCount"] + 1, "OpenShardCount")

    wanted = {f"key {number:02}": f"value {number}" for number in range(25)}
    kinesis.remove_tags_from_stream(StreamName="planned", TagKeys=list(first))
    for start in range(0, len(wanted), 10):
        kinesis.add_tags_to_stream(StreamName="planned", Tags=dict(list(wanted.items())[start : start + 10]))
    expect_equal(tags_of("planned"), wanted, "the tags after the update")
    for tags in [{"aws:a": "b"}, {"a": "b!"}, {f"more {number}": "" for number in range(26)}]:
        try:
            kinesis.add_tags_to_stream(StreamName="planned", Tags=tags)
            raise AssertionError(f"these tags were taken: {tags}")
        except (kinesis.exceptions.InvalidArgumentException, kinesis.exceptions.ValidationException):
            expect_equal(tags_of("planned"), wanted, "the tags after a refusal")

    arn = kinesis.describe_stream_summary(StreamName="planned")["StreamDescriptionSummary"]["StreamARN"]
    kinesis.tag_resource(ResourceARN=arn, Tags={"key 00": "changed"})
    kinesis.untag_resource(ResourceARN=arn, TagKeys=list(wanted)[1:])
    of_resource = kinesis.list_tags_for_resource(ResourceARN=arn)["Tags"]
    expect_equal(of_resource, [{"Key": "key 00", "Value": "changed"}], "the tags by ARN")
    metrics = kinesis.enable_enhanced_monitoring(StreamName="planned", ShardLevelMetrics=["IncomingBytes"])
    expect_equal(metrics["CurrentShardLevelMetrics"], [], "the metrics before")
    expect_equal(metrics["DesiredShardLevelMetrics"], ["IncomingBytes"], "the metrics after")
    kinesis.disable_enhanced_monitoring(StreamName="planned", ShardLevelMetrics=["ALL"])
    expect_equal(kinesis.get_resource_policy(ResourceARN=arn)["Policy"], "{}", "the policy of a new stream")
    kinesis.put_resource_policy(ResourceARN=arn, Policy='{"Version": "2012-10-17"}')
    expect_equal(kinesis.get_resource_policy(ResourceARN=arn)["Policy"], '{"Version": "2012-10-17"}', "its policy")
    kinesis.delete_resource_policy(ResourceARN=arn)
    kinesis.start_stream_encryption(StreamName="planned", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    described = kinesis.describe_stream(StreamName="planned")["StreamDescription"]
    expect_equal((described["EncryptionType"], described["KeyId"]), ("KMS", "alias/aws/kinesis"), "the encryption")
    put = kinesis.put_record(StreamName="planned", PartitionKey="k", Data=b"x")
    expect_equal(put["EncryptionType"], "KMS", "the encryption of a put")
    kinesis.stop_stream_encryption(StreamName="planned", EncryptionType="KMS", KeyId="alias/aws/kinesis")
    described = kinesis.describe_stream(StreamName="planned")["StreamDescription"]
    expect_equal(described["EncryptionType"], "NONE", "the encryption after its end")
    kinesis.delete_stream(StreamName="planned")
    kinesis.get_waiter("stream_not_exists").wait(StreamName="planned", WaiterConfig={"Delay": 1})

    settings = kinesis.describe_account_settings()["MinimumThroughputBillingCommitment"]
    expect_equal(settings, {"Status": "DISABLED"}, "the account's settings")
    commitment = {"Status": "ENABLED"}
    updated = kinesis.update_account_settings(MinimumThroughputBillingCommitment=commitment)
    commitment = updated["MinimumThroughputBillingCommitment"]
    expect_equal(commitment["Status"], "ENABLED", "the account's commitment")
    day = commitment["EarliestAllowedEndAt"] - commitment["StartedAt"]
    expect_equal(day.total_seconds(), 86400.0, "how long it lasts at least")


def check_enhanced_fan_out():
    kinesis.create_stream(StreamName="pushed", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="pushed", WaiterConfig={"Delay": 1})
    arn = kinesis.describe_stream_summary(StreamName="pushed")["StreamDescriptionSummary"]["StreamARN"]
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="app", Tags={"a": "b"})["Consumer"]
    described = kinesis.describe_stream_consumer(StreamARN=arn, ConsumerName="app")["ConsumerDescription"]
    expect_equal(described, {**consumer, "StreamARN": arn}, "the consumer's description")
    pages = kinesis.get_paginator("list_stream_consumers").paginate(StreamARN=arn)
    expect_equal([page["Consumers"] for page in pages], [[consumer]], "the stream's consumers")

    put = kinesis.put_record(StreamName="pushed", PartitionKey="k", Data=b"before")
    subscribed = {"ConsumerARN": consumer["ConsumerARN"], "ShardId": put["ShardId"]}
    begin = {"Type": "TRIM_HORIZON"}
    events = kinesis.subscribe_to_shard(**subscribed, StartingPosition=begin)["EventStream"]
    pushed, continuation, is_split = [], None, False
    for event in events:
        event = event["SubscribeToShardEvent"]
        pushed += [record["Data"] for record in event["Records"]]
        if "ContinuationSequenceNumber" not in event:
            break
        continuation = event["ContinuationSequenceNumber"]
        if pushed == [b"before"]:
            kinesis.put_record(StreamName="pushed", PartitionKey="k", Data=b"after")
        elif len(pushed) == 2 and not is_split:
            is_split = True
            middle = str(2**127)
            kinesis.split_shard(StreamName="pushed", ShardToSplit=put["ShardId"], NewStartingHashKey=middle)
    expect_equal(pushed, [b"before", b"after"], "what was pushed")
    children = [child["ShardId"] for child in event["ChildShards"]]
    expect_equal(children, ["shardId-000000000001", "shardId-000000000002"], "the shards behind the end")

    after = {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": continuation}
    events = kinesis.subscribe_to_shard(**subscribed, StartingPosition=after)["EventStream"]
    expect_equal([event["SubscribeToShardEvent"]["Records"] for event in events], [[]], "what is left of the shard")
    try:
        kinesis.delete_stream(StreamName="pushed")
        raise AssertionError("a stream with a consumer was deleted")
    except kinesis.exceptions.ResourceInUseException:
        kinesis.deregister_stream_consumer(ConsumerARN=consumer["ConsumerARN"])
    kinesis.delete_stream(StreamName="pushed")
    kinesis.get_waiter("stream_not_exists").wait(StreamName="pushed", WaiterConfig={"Delay": 1})


def check_shard_counts_and_settings():
    kinesis.create_stream(StreamName="scaled", ShardCount=4)
    active = kinesis.get_waiter("stream_exists")
    active.wait(StreamName="scaled", WaiterConfig={"Delay": 1})
    summary = lambda: kinesis.describe_stream_summary(StreamName="scaled")["StreamDescriptionSummary"]
    arn = summary()["StreamARN"]
    reply = kinesis.update_shard_count(StreamName="scaled", TargetShardCount=5, ScalingType="UNIFORM_SCALING")
    counts = (reply["CurrentShardCount"], reply["TargetShardCount"], reply["StreamARN"])
    expect_equal(counts, (4, 5, arn), "the answer to another number of shards")
    active.wait(StreamName="scaled", WaiterConfig={"Delay": 1})
    expect_equal(summary()["OpenShardCount"], 5, "the open shards")
    pages = kinesis.get_paginator("list_shards").paginate(StreamName="scaled")
    expect_equal(sum(len(page["Shards"]) for page in pages), 15, "all shards, as on AWS")
    try:
        kinesis.update_shard_count(StreamName="scaled", TargetShardCount=11, ScalingType="UNIFORM_SCALING")
        raise AssertionError("more than twice as many shards were made")
    except kinesis.exceptions.LimitExceededException:
        expect_equal(summary()["OpenShardCount"], 5, "the open shards after a refusal")

    for change, hours in [
        (kinesis.increase_stream_retention_period, 168),
        (kinesis.decrease_stream_retention_period, 48),
    ]:
        change(StreamName="scaled", RetentionPeriodHours=hours)
        active.wait(StreamName="scaled", WaiterConfig={"Delay": 1})
        expect_equal(summary()["RetentionPeriodHours"], hours, "the retention")
    try:
        kinesis.decrease_stream_retention_period(StreamName="scaled", RetentionPeriodHours=23)
        raise AssertionError("a retention of less than a day was taken")
    except kinesis.exceptions.InvalidArgumentException:
        expect_equal(summary()["RetentionPeriodHours"], 48, "the retention after a refusal")

    kinesis.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=10240)
    large = kinesis.put_record(StreamName="scaled", PartitionKey="k", Data=b"x" * (9 << 20))
    expect(large["ShardId"].startswith("shardId-"), f"a large record has a shard: {large}")
    kinesis.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    expect_equal(summary()["StreamModeDetails"], {"StreamMode": "ON_DEMAND"}, "the mode")
    kinesis.update_stream_record_distribution_strategy(StreamARN=arn, RecordDistributionStrategy="AUTO")
    shards = {kinesis.put_record(StreamName="scaled", Data=b"no key")["ShardId"] for _ in range(5)}
    expect_equal(len(shards), 5, "shards of records without keys")
    kinesis.update_account_settings(MinimumThroughputBillingCommitment={"Status": "ENABLED"})
    warm = kinesis.update_stream_warm_throughput(StreamName="scaled", WarmThroughputMiBps=6)["WarmThroughput"]
    expect_equal(warm, {"TargetMiBps": 6, "CurrentMiBps": 5}, "the warm throughput")
    kinesis.delete_stream(StreamName="scaled")
    kinesis.get_waiter("stream_not_exists").wait(StreamName="scaled", WaiterConfig={"Delay": 1})


def tags_of(stream_name):
    tags = kinesis.list_tags_for_stream(StreamName=stream_name)["Tags"]
    return {tag["Key"]: tag["Value"] for tag in tags}


# 9. The end


def delete_the_stream():
    kinesis.delete_stream(StreamName="people")
    kinesis.get_waiter("stream_not_exists").wait(StreamName="people", WaiterConfig={"Delay": 1})

    expect_equal(kinesis.list_streams()["StreamNames"], [], "the streams after the last one was deleted")
    try:
        kinesis.put_record(StreamName="people", Data=b"", PartitionKey="nobody")
        raise AssertionError("a deleted stream took a record")
    except kinesis.exceptions.ResourceNotFoundException as refused:
        expect("people" in str(refused), f"the refusal names the stream: {refused}")


def before_the_restart(state_file):
    numbers = SequenceNumbers()
    create_a_stream()
    first = put_while_another_process_follows(numbers)
    split_the_shard()
    children = put_by_gender(numbers)
    everybody = check_what_is_read_after_the_split(first, children)
    everybody += merge_the_children(numbers)
    everybody += put_in_fives(numbers)
    remember(state_file, everybody)


def after_the_restart(state_file):
    check_that_all_is_as_it_was(state_file)
    check_tags()
    check_enhanced_fan_out()
    check_the_calls_of_terraform()
    check_shard_counts_and_settings()
    delete_the_stream()


if __name__ == "__main__":
    match sys.argv[2:]:
        case ["before", state_file]:
            before_the_restart(state_file)
        case ["after", state_file]:
            after_the_restart(state_file)
        case ["follow"]:
            follow()
        case []:
            with tempfile.NamedTemporaryFile() as state:
                before_the_restart(state.name)
                after_the_restart(state.name)
        case _:
            sys.exit(__doc__)

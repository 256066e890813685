"""The tutorial with boto 2.49, as articles of its time write it, and with a check after each step.

Nothing here names the server: the file that BOTO_CONFIG names redirects boto to it.

    python tutorial_boto2.py                      all of it
    python tutorial_boto2.py before STATE_FILE    up to where the server is stopped
    python tutorial_boto2.py after STATE_FILE     from where it is there again
    python tutorial_boto2.py follow               the second shell
"""

import json
import subprocess
import sys
import tempfile
import time

import boto.kinesis
import fake_gen as testdata
from boto.kinesis.exceptions import ResourceInUseException, ResourceNotFoundException

from expect import Deadline, SequenceNumbers, expect, expect_equal, shard_of, until

kinesis = boto.kinesis.connect_to_region("eu-west-1")


class Users(testdata.DictFactory):
    firstname = testdata.FakeDataFactory("first_name")
    lastname = testdata.FakeDataFactory("last_name")
    age = testdata.RandomInteger(10, 30)
    gender = testdata.RandomSelection(["female", "male"])


def describe():
    return kinesis.describe_stream("BotoDemo")["StreamDescription"]


def wait_until_active():
    until("the stream is ACTIVE", lambda: describe()["StreamStatus"] == "ACTIVE")


def create_a_stream():
    kinesis.create_stream("BotoDemo", 1)
    wait_until_active()
    stream = describe()
    expect_equal([shard["ShardId"] for shard in stream["Shards"]], ["shardId-000000000000"], "the shards")
    everything = {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)}
    expect_equal(stream["Shards"][0]["HashKeyRange"], everything, "the hash keys of the only shard")
    streams = kinesis.list_streams()
    expect_equal(streams["StreamNames"], ["BotoDemo"], "the streams")
    expect_equal(streams["HasMoreStreams"], False, "HasMoreStreams")
    try:
        kinesis.create_stream("BotoDemo", 1)
        raise AssertionError("a second stream of the same name was created")
    except ResourceInUseException as refused:
        expect("already exists" in refused.message, f"the refusal says why: {refused.message}")


def put_users(numbers):
    users = list(Users().generate(50))
    for user in users:
        # A key like -4386350231..., another in every process.
        put = kinesis.put_record("BotoDemo", json.dumps(user), str(hash(user["lastname"])))
        expect_equal(put["ShardId"], "shardId-000000000000", "the shard of a put")
        numbers.expect_next(put["SequenceNumber"])
    return users


def follow():
    """What the second shell does."""
    shard_id = "shardId-000000000000"
    shard_it = kinesis.get_shard_iterator("BotoDemo", shard_id, "LATEST")["ShardIterator"]
    print("reading", flush=True)
    deadline = Deadline("50 users arrive")
    count, total = 0, 0
    while count < 50:
        out = kinesis.get_records(shard_it, limit=2)
        for record in out["Records"]:
            count += 1
            total += json.loads(record["Data"])["age"]
            print(f"{count} users, on average {total / count:.2f} years old")
        shard_it = out["NextShardIterator"]
        time.sleep(0.2 if not out["Records"] else 0)
        expect(len(out["Records"]) <= 2, f"limit=2 gave {len(out['Records'])} records")
        deadline.check()


def put_while_another_process_follows(numbers):
    follower = subprocess.Popen([sys.executable, __file__, "follow"], stdout=subprocess.PIPE, text=True)
    try:
        expect_equal(follower.stdout.readline(), "reading\n", "what the follower says when it has its iterator")
        users = put_users(numbers)
        said, _ = follower.communicate(timeout=60)
    finally:
        follower.kill()
    expect_equal(follower.returncode, 0, "the follower's exit status")
    ages = [user["age"] for user in users]
    averages = [
        f"{count} users, on average {sum(ages[:count]) / count:.2f} years old" for count in range(1, len(ages) + 1)
    ]
    expect_equal(said.splitlines(), averages, "the running average")
    return users


def split_the_shard():
    shard = describe()["Shards"][0]
    half = int(shard["HashKeyRange"]["EndingHashKey"]) // 2
    kinesis.split_shard("BotoDemo", shard["ShardId"], str(half))
    wait_until_active()
    parent, low, high = describe()["Shards"]
    expect("EndingSequenceNumber" in parent["SequenceNumberRange"], "the parent is closed")
    children = [(child["ShardId"], child["ParentShardId"]) for child in (low, high)]
    expected = [("shardId-000000000001", parent["ShardId"]), ("shardId-000000000002", parent["ShardId"])]
    expect_equal(children, expected, "the children")
    expect_equal(low["HashKeyRange"], {"StartingHashKey": "0", "EndingHashKey": str(half - 1)}, "the lower half")
    upper = {"StartingHashKey": str(half), "EndingHashKey": str(2**128 - 1)}
    expect_equal(high["HashKeyRange"], upper, "the upper half")


def put_by_gender(numbers):
    shards = describe()["Shards"]
    users = list(Users().generate(50))
    children = {"shardId-000000000001": [], "shardId-000000000002": []}
    in_shard = {shard_id: SequenceNumbers(numbers.greatest) for shard_id in children}
    for user in users:
        put = kinesis.put_record("BotoDemo", json.dumps(user), user["gender"])
        expect_equal(put["ShardId"], shard_of(user["gender"], shards), f"the shard that {user['gender']} lands in")
        in_shard[put["ShardId"]].expect_next(put["SequenceNumber"])
        children[put["ShardId"]].append(user)
    numbers.greatest = max(of_shard.greatest for of_shard in in_shard.values())
    return children


def read_shard(shard_id):
    """The records of a shard, and its children if it is closed."""
    shard_it = kinesis.get_shard_iterator("BotoDemo", shard_id, "TRIM_HORIZON")["ShardIterator"]
    records = []
    deadline = Deadline(f"{shard_id} is read to its end")
    while True:
        out = kinesis.get_records(shard_it, limit=20)
        records += out["Records"]
        # boto 2 is older than both members, and gives them as they come.
        if "NextShardIterator" not in out:
            return records, out["ChildShards"]
        expect("ChildShards" not in out, f"{shard_id} goes on, and yet it names children")
        deadline.check()
        if not out["Records"] and out["MillisBehindLatest"] == 0:
            return records, []
        shard_it = out["NextShardIterator"]


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


def users_in(records):
    return [json.loads(record["Data"]) for record in records]


def check_what_is_read_after_the_split(first, children):
    records, named = read_shard("shardId-000000000000")
    expect_equal(users_in(records), first, "the users in the parent")
    expect_equal([child["ShardId"] for child in named], list(children), "the children that the parent's end names")
    everybody = first + children["shardId-000000000001"] + children["shardId-000000000002"]
    expect_equal(users_in(read_parents_first()), everybody, "the whole stream, parents first")
    return everybody


def merge_the_children(numbers):
    kinesis.merge_shards("BotoDemo", "shardId-000000000001", "shardId-000000000002")
    wait_until_active()
    merged = describe()["Shards"][3]
    parents = (merged["ParentShardId"], merged["AdjacentParentShardId"])
    expect_equal(parents, ("shardId-000000000001", "shardId-000000000002"), "the parents of the merged shard")
    users = list(Users().generate(50))
    for user in users:
        put = kinesis.put_record("BotoDemo", json.dumps(user), str(user["age"]))
        expect_equal(put["ShardId"], "shardId-000000000003", "the shard of a put after the merge")
        numbers.expect_next(put["SequenceNumber"])
    return users


def put_in_fives(numbers):
    users = list(Users().generate(50))
    for start in range(0, len(users), 5):
        records = [{"Data": json.dumps(user), "PartitionKey": user["lastname"]} for user in users[start : start + 5]]
        out = kinesis.put_records(records, "BotoDemo")
        expect_equal(out["FailedRecordCount"], 0, "FailedRecordCount")
        expect_equal(len(out["Records"]), 5, "the number of results")
        for put in out["Records"]:
            numbers.expect_next(put["SequenceNumber"])
    return users


def readable(records):
    return [
        [record["SequenceNumber"], record["PartitionKey"], record["Data"], record["ApproximateArrivalTimestamp"]]
        for record in records
    ]


def remember(state_file, everybody):
    records = read_parents_first()
    expect_equal(users_in(records), everybody, "the whole stream before the restart")
    begin = kinesis.get_shard_iterator("BotoDemo", "shardId-000000000000", "TRIM_HORIZON")["ShardIterator"]
    middle = kinesis.get_records(begin, limit=2)["NextShardIterator"]
    latest = kinesis.get_shard_iterator("BotoDemo", "shardId-000000000003", "LATEST")["ShardIterator"]
    state = {
        "stream": describe(),
        "records": readable(records),
        "iterators": {"begin": begin, "middle": middle, "latest": latest},
    }
    with open(state_file, "w", encoding="utf-8") as file:
        json.dump(state, file)


def check_that_all_is_as_it_was(state_file):
    with open(state_file, encoding="utf-8") as file:
        state = json.load(file)
    expect_equal(describe(), state["stream"], "the stream's description after the restart")
    expect_equal(kinesis.list_streams()["StreamNames"], ["BotoDemo"], "the streams after the restart")
    expect_equal(readable(read_parents_first()), state["records"], "the records after the restart")
    iterators = state["iterators"]
    for name, skipped in [("begin", 0), ("middle", 2)]:
        out = kinesis.get_records(iterators[name], limit=10)
        expected = state["records"][skipped : skipped + 10]
        expect_equal(readable(out["Records"]), expected, f"what the iterator {name} of before the restart gives")
    put = kinesis.put_record("BotoDemo", "good morning", "users")
    SequenceNumbers(state["records"][-1][0]).expect_next(put["SequenceNumber"])
    news = [record["Data"] for record in kinesis.get_records(iterators["latest"])["Records"]]
    expect_equal(news, ["good morning"], "what was put after the restart, by an iterator of before")


def check_tags():
    kinesis.add_tags_to_stream("BotoDemo", {"owner": "me", "stage": "demo"})
    kinesis.remove_tags_from_stream("BotoDemo", ["stage"])
    tags = kinesis.list_tags_for_stream("BotoDemo")
    expect_equal(tags, {"Tags": [{"Key": "owner", "Value": "me"}], "HasMoreTags": False}, "the tags")


def delete_the_stream():
    kinesis.delete_stream("BotoDemo")

    def is_gone():
        try:
            return describe()["StreamStatus"] != "DELETING" and "neither DELETING nor gone"
        except ResourceNotFoundException as gone:
            return gone.message

    expect("not found" in until("the stream is gone", is_gone), "a deleted stream is not found")
    expect_equal(kinesis.list_streams()["StreamNames"], [], "the streams after the last one was deleted")


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
    delete_the_stream()


if __name__ == "__main__":
    match sys.argv[1:]:
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

"""What the tutorial's scripts check, and how long they wait for it."""

import hashlib
import re
import time

TIME_LIMIT = 60.0


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def expect_equal(actual, expected, what):
    expect(actual == expected, f"{what}: expected {expected!r}, found {actual!r}")


def until(what, attempt):
    """Tries again and again, until `attempt` gives something true, and gives that."""
    deadline = Deadline(what)
    while True:
        result = attempt()
        if result:
            return result
        deadline.check()
        time.sleep(0.05)


class Deadline:
    """Ends a loop that would otherwise go on for ever."""

    def __init__(self, what):
        self.what = what
        self.ends = time.monotonic() + TIME_LIMIT

    def check(self):
        expect(time.monotonic() < self.ends, f"{self.what}: not so after {TIME_LIMIT:.0f} s")


class SequenceNumbers:
    """Every number is in Kinesis' layout, and greater than all before it."""

    def __init__(self, greatest=0):
        self.greatest = int(greatest)

    def expect_next(self, number):
        expect(isinstance(number, str), f"a sequence number is a string, not {number!r}")
        expect(re.fullmatch("[1-9][0-9]{55}", number), f"sequence number {number!r} does not have 56 digits")
        expect(int(number) > self.greatest, f"sequence number {number} is not greater than {self.greatest}")
        self.greatest = int(number)


def shard_of(partition_key, shards):
    """The open shard in whose range the key's MD5 is, by a shard list as DescribeStream gives it."""
    hash_key = int.from_bytes(hashlib.md5(partition_key.encode()).digest(), "big")
    owners = [
        shard["ShardId"]
        for shard in shards
        if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
        and int(shard["HashKeyRange"]["StartingHashKey"]) <= hash_key <= int(shard["HashKeyRange"]["EndingHashKey"])
    ]
    expect_equal(len(owners), 1, f"open shards for partition key {partition_key!r}")
    return owners[0]

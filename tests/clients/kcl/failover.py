"""The Kinesis Client Library 3, polling and with enhanced fan-out, over TLS, a split, a merge, a killed worker and a new one.

Run as: failover.py ENDPOINT DIRECTORY

DIRECTORY has dynamodb.py and kcl.properties of the recipe in docs/kcl.md, and the truststore of docs/security.md; the properties
get other names and addresses here. AWS_CA_BUNDLE has the server's certificate.
Two applications read the same stream at the same time, each with workers that are MultiLangDaemons:

1. A stream with 4 shards is written to, by many keys, with aggregated records among the others, until 5.
2. Two workers of each application begin.
3. All shards have been read from: one is split, two are merged, and a third worker is added.
4. All three children have been read from: a worker that has shards is killed. Of the application that polls it is another one
   than the leader, which assigns the shards; of the other application it is the leader. Another worker takes the lead over
   once it has seen the same lock for two minutes, which the KCL has built in, or once there is none: it is removed here.
5. All shards of the killed worker have others, and both that are left have had records.
6. All records have been delivered. The workers are stopped in order.

What must hold is in `check`.
"""
import bisect
import ctypes
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import amazon_kclpy
import boto3
from aws_kinesis_agg.aggregator import RecordAggregator

ENDPOINT, DIRECTORY = sys.argv[1], Path(sys.argv[2])
HERE = Path(__file__).resolve().parent
JARS = Path(amazon_kclpy.__file__).parent / "jars"
TRUST = [f"-Djavax.net.ssl.trustStore={DIRECTORY / 'truststore.p12'}", "-Djavax.net.ssl.trustStorePassword=changeit"]
STREAM = "clicks"
REGION = "us-east-1"
# What is waited for takes seconds, and minutes where a loaded machine starts several virtual machines of Java.
PATIENCE = 300
STARTED = time.monotonic()

kinesis = boto3.client("kinesis", endpoint_url=ENDPOINT, region_name=REGION)


def say(*what):
    print(f"{time.monotonic() - STARTED:6.2f}", *what, flush=True)


def start(command, **options):
    """A process that is killed when this one ends, however it ends."""

    def die_with_the_parent():
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen([str(part) for part in command], preexec_fn=die_with_the_parent, **options)


class Writer(threading.Thread):
    """Puts records `1`, `2`, ... of each key, and keeps what was acknowledged."""

    KEYS = [f"key-{number}" for number in range(30)]
    AGGREGATED_KEYS = [f"aggregated-{number}" for number in range(8)]
    RECORDS_IN_AN_AGGREGATE = 3

    def __init__(self):
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.failure = None
        # The shard and the number of each record; those of an aggregate count from 0 within it.
        self.acknowledged = {}

    def run(self):
        try:
            for turn in itertools.count():
                self.put(turn)
                if self.stopping.wait(0.2):
                    return
        except Exception as failure:
            self.failure = failure

    def put(self, turn):
        entries, contents = [], []
        for key in self.KEYS:
            entries.append({"PartitionKey": key, "Data": str(turn + 1).encode()})
            contents.append([turn + 1])
        for key in self.AGGREGATED_KEYS:
            count = self.RECORDS_IN_AN_AGGREGATE
            numbers = range(turn * count + 1, (turn + 1) * count + 1)
            aggregator = RecordAggregator()
            for number in numbers:
                aggregator.add_user_record(key, str(number).encode())
            _, _, data = aggregator.clear_and_get().get_contents()
            entries.append({"PartitionKey": key, "Data": data})
            contents.append(numbers)
        reply = kinesis.put_records(StreamName=STREAM, Records=entries)
        assert reply["FailedRecordCount"] == 0, reply
        for entry, numbers, result in zip(entries, contents, reply["Records"]):
            for within, number in enumerate(numbers):
                place = result["ShardId"], (int(result["SequenceNumber"]), within)
                self.acknowledged[entry["PartitionKey"], number] = place

    def finish(self):
        self.stopping.set()
        self.join()
        assert self.failure is None, self.failure


class Application:
    """The workers of one application, and what they noted: see processor.py."""

    LEADER = {"Key": {"key": {"S": "Leader"}}}

    def __init__(self, retrieval_mode, dynamodb):
        self.retrieval_mode = retrieval_mode
        self.loses_leader = retrieval_mode == "FANOUT"
        self.name = f"clicks-{retrieval_mode.lower()}"
        self.coordinator_state = f"{self.name}-CoordinatorState"
        self.dynamodb = dynamodb
        self.notes = DIRECTORY / f"{self.name}.notes"
        self.file = self.notes.open("ab+")
        self.events = []
        self.rest = b""
        self.workers = {}

    def start_worker(self, name):
        settings = dict(line.split(" = ", 1) for line in (DIRECTORY / "kcl.properties").read_text().splitlines())
        changed = {
            "executableName": f"{sys.executable} {HERE / 'processor.py'} {self.notes} {name}",
            "applicationName": self.name,
            "streamName": STREAM,
            "kinesisEndpoint": ENDPOINT,
            "dynamoDBEndpoint": self.dynamodb.meta.endpoint_url,
            "retrievalMode": self.retrieval_mode,
        }
        assert changed.keys() <= settings.keys(), changed.keys() - settings.keys()
        settings.update(changed, workerId=name)
        # No worker can have all shards: shards that have ended count. And none gives away what it has, because KCL 3.1.3 may
        # stop reading a shard that has to be given away as soon as it was taken, which is likely where shards are assigned
        # so often.
        settings.update(maxLeasesForWorker=4, leaseAssignmentIntervalMillis=1000, varianceBalancingFrequency=1_000_000_000)
        # A worker that gets no processor for this long loses its leases. With the 3 s of the page, the workers on a loaded
        # machine took them from each other again and again, and never read all shards.
        settings.update(failoverTimeMillis=10_000)
        properties = DIRECTORY / f"{self.name}-{name}.properties"
        properties.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        daemon = "software.amazon.kinesis.multilang.MultiLangDaemon"
        # A worker lives for seconds: a better compiler does not pay.
        java = ["java", *TRUST, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{JARS}/*"]
        with (DIRECTORY / f"{self.name}-{name}.log").open("wb") as log:
            self.workers[name] = start(
                [*java, daemon, "--properties-file", properties], stdout=log, stderr=subprocess.STDOUT
            )

    def look(self):
        """Reads what was noted since the last look."""
        self.rest += self.file.read()
        *lines, self.rest = self.rest.split(b"\n")
        self.events += map(json.loads, lines)

    def records(self):
        return (event for event in self.events if event["event"] == "record")

    def leader(self):
        """The worker that assigns the shards to the workers, if there is one."""
        leader = self.dynamodb.get_item(**self.LEADER, TableName=self.coordinator_state, ConsistentRead=True)
        return leader["Item"]["ownerName"]["S"] if "Item" in leader else None

    def remove_leader(self):
        """Spares the others the time for which they wait for a leader that is dead."""
        self.dynamodb.delete_item(**self.LEADER, TableName=self.coordinator_state)

    def knows(self, worker):
        """Whether the leader can give shards to a worker: it does so to those that report how busy they are."""
        reports = self.dynamodb.scan(TableName=f"{self.name}-WorkerMetricStats", ConsistentRead=True)
        return worker in {report["wid"]["S"] for report in reports["Items"]}

    def owners(self):
        """Who has which shard: the last that began, unless it said that it ended."""
        owners = {}
        for event in self.events:
            if event["event"] == "begin":
                owners[event["shard"]] = event["worker"]
            elif event["event"] in ("end", "lost"):
                if owners.get(event["shard"]) == event["worker"]:
                    del owners[event["shard"]]
        return owners

    def dump(self):
        for name, worker in self.workers.items():
            log = (DIRECTORY / f"{self.name}-{name}.log").read_text(errors="replace")
            lines = [line for line in log.splitlines() if "Cannot get the shard for this ProcessTask" not in line]
            print(f"--- {self.name}, {name}: {worker.poll()}", *lines[-40:], sep="\n")
        print(f"--- {self.name}, notes", *(event for event in self.events if event["event"] != "record"), sep="\n")


def wait_until(what, applications, holds):
    """Waits until it holds for each of the applications."""
    end = time.monotonic() + PATIENCE
    waiting = list(applications)
    while True:
        for application in list(waiting):
            application.look()
            if holds(application):
                waiting.remove(application)
                say(f"{application.name}: {what}")
        if not waiting:
            return
        for application in applications:
            ended = [name for name, worker in application.workers.items() if worker.poll() not in (None, -signal.SIGKILL)]
            assert not ended, f"{application.name}: {ended} ended"
        assert time.monotonic() < end, f"{[application.name for application in waiting]}: not {what}"
        time.sleep(0.1)


def check(application, acknowledged, shards):
    """
    - Each acknowledged record was delivered, from its shard and with its number, and nothing else was.
    - Of each key the records came first in the order in which they were put, over splits and merges.
    - A shard began after its parents had ended, and every closed shard has ended.
    - A record was delivered again only by a processor that took the shard over, and only from behind the last checkpoint
      that was written before it began.
    - A processor goes on behind the checkpoint that it begins with, and leaves nothing out.
    """
    expected = {}
    for (key, number), (shard, at) in acknowledged.items():
        expected.setdefault(shard, []).append((at, key, str(number)))
    for records in expected.values():
        records.sort()

    delivered = Counter()
    order = defaultdict(list)
    begun, ended = set(), set()
    checkpoints = {}
    # Of each process what its shard is, and the index of the record that comes next.
    following = {}
    for event in application.events:
        shard, process = event["shard"], event["process"]
        records = expected.get(shard, [])
        if event["event"] == "begin":
            for parent in ("ParentShardId", "AdjacentParentShardId"):
                parent = shards[shard].get(parent)
                assert parent is None or parent in ended, f"{shard} began before {parent} had ended"
            number, within = event["from"]
            start = (-1, 0) if number == "TRIM_HORIZON" else (int(number), within)
            assert start >= checkpoints.get(shard, start), f"{event} is before {checkpoints[shard]}"
            following[process] = bisect.bisect_right([at for at, _, _ in records], start)
            begun.add(shard)
        elif event["event"] == "record":
            at, key, number = (int(event["at"][0]), event["at"][1]), event["key"], event["data"]
            index = following[process]
            assert index < len(records) and records[index] == (at, key, number), f"{event}, not {records[index:][:1]}"
            following[process] = index + 1
            if not delivered[key, number]:
                order[key].append(int(number))
            delivered[key, number] += 1
        elif event["event"] == "checkpoint":
            number, within = event["at"]
            checkpoints[shard] = max(checkpoints.get(shard, (-1, 0)), (int(number), within))
        elif event["event"] == "end":
            assert following[process] == len(records), f"{event} before its last record"
            ended.add(shard)
    missing = [record for record in acknowledged if not delivered[record[0], str(record[1])]]
    assert not missing, f"{len(missing)} were not delivered: {missing[:10]}"
    assert delivered.keys() == {(key, str(number)) for key, number in acknowledged}
    for key, numbers in order.items():
        assert numbers == sorted(numbers), f"{key}: {numbers}"
    assert begun == set(shards), set(shards) - begun
    closed = {name for name, shard in shards.items() if "EndingSequenceNumber" in shard["SequenceNumberRange"]}
    assert ended == closed, (ended, closed)
    again = sum(delivered.values()) - len(delivered)
    say(f"{application.name}: {len(delivered)} records, {again} of them again, {len(closed)} closed shards")


def tell(applications):
    kinesis.create_stream(StreamName=STREAM, ShardCount=4)
    writer = Writer()
    writer.start()
    for application in applications:
        application.start_worker("first")
        application.start_worker("second")

    def are_read(shards):
        return lambda application: shards <= {record["shard"] for record in application.records()}

    left, _, right, rightmost = shards = kinesis.list_shards(StreamName=STREAM)["Shards"]
    wait_until("all shards are read", applications, are_read({shard["ShardId"] for shard in shards}))
    hash_keys = left["HashKeyRange"]
    middle = (int(hash_keys["StartingHashKey"]) + int(hash_keys["EndingHashKey"])) // 2
    kinesis.split_shard(StreamName=STREAM, ShardToSplit=left["ShardId"], NewStartingHashKey=str(middle))
    kinesis.merge_shards(
        StreamName=STREAM, ShardToMerge=right["ShardId"], AdjacentShardToMerge=rightmost["ShardId"]
    )
    shards = {shard["ShardId"]: shard for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]}
    assert len(shards) == 7, shards
    children = {name for name, shard in shards.items() if "ParentShardId" in shard}
    open_shards = {name for name, shard in shards.items() if "EndingSequenceNumber" not in shard["SequenceNumberRange"]}

    for application in applications:
        application.start_worker("third")
    wait_until("the children are read", applications, are_read(children))
    wait_until("the third worker is known", applications, lambda application: application.knows("third"))
    victims = {}

    def one_to_kill(application):
        owners, leader = set(application.owners().values()), {application.leader()}
        owners = owners & leader if application.loses_leader else owners - leader
        # That the third one has shards already is rare.
        victims.update((application, victim) for victim in sorted(owners, reverse=True))
        return owners

    wait_until("a worker that can be killed has shards", applications, one_to_kill)
    for application, victim in victims.items():
        application.workers[victim].kill()
        application.workers[victim].wait()
        say(f"{application.name}: {victim} is killed")
        if application.loses_leader:
            application.remove_leader()

    def another_leads(application):
        return application.leader() not in (None, victims[application])

    def shards_have_workers(application):
        owners = application.owners()
        return victims[application] not in owners.values() and owners.keys() == open_shards

    def all_left_have_had_records(application):
        return application.workers.keys() - {victims[application]} <= {
            record["worker"] for record in application.records()
        }

    wait_until("another worker leads", applications, another_leads)
    wait_until("all shards have workers that live", applications, shards_have_workers)
    wait_until("all workers that are left have had records", applications, all_left_have_had_records)
    writer.finish()
    acknowledged = writer.acknowledged
    try:
        wait_until(
            "all are delivered",
            applications,
            lambda application: len({(record["key"], record["data"]) for record in application.records()})
            >= len(acknowledged),
        )
    except AssertionError:
        for application in applications:
            # Says more.
            check(application, acknowledged, shards)
        raise
    for application in applications:
        for worker in application.workers.values():
            worker.terminate()
    for application in applications:
        for name, worker in application.workers.items():
            status = worker.wait(PATIENCE)
            say(f"{application.name}: {name} ended with {status}")
        application.look()
        check(application, acknowledged, shards)


def main():
    dynamodb = start([sys.executable, DIRECTORY / "dynamodb.py", "0"], stdout=subprocess.PIPE, text=True)
    endpoint = f"http://127.0.0.1:{int(dynamodb.stdout.readline())}"
    applications = [
        Application(mode, boto3.client("dynamodb", endpoint_url=endpoint, region_name=REGION))
        for mode in ("POLLING", "FANOUT")
    ]
    try:
        tell(applications)
    except BaseException:
        for application in applications:
            application.dump()
        raise


main()

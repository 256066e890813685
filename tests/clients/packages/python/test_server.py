"""`anabranch.Server`, as a program that tests itself uses it."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import anabranch
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

PATIENCE = 60


def wait_until(is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answers(url):
    """Whether a server is there, which refuses a request that is none of its own."""
    try:
        urllib.request.urlopen(url, timeout=PATIENCE).close()
    except urllib.error.HTTPError as answer:
        answer.close()
    except OSError:
        return False
    return True


def is_running(process_id):
    """Also a zombie is a process."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_is_there_for_a_block():
    with anabranch.Server(streams=["clicks:2", "orders"]) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
        assert (server.region, server.account_id) == ("us-east-1", "000000000000")
        kinesis = server.client()
        assert len(kinesis.list_shards(StreamName="clicks")["Shards"]) == 2
        assert len(kinesis.list_shards(StreamName="orders")["Shards"]) == 4
        put = kinesis.put_record(StreamName="clicks", PartitionKey="user-3", Data=b"hello")
        position = kinesis.get_shard_iterator(
            StreamName="clicks", ShardId=put["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        records = kinesis.get_records(ShardIterator=position["ShardIterator"])["Records"]
        assert [record["Data"] for record in records] == [b"hello"]
    assert server.process.returncode == 0
    assert "the store is closed" in server.log()
    assert not answers(server.url)
    server.stop()


def test_one_text_is_a_list_of_one():
    with anabranch.Server("clicks:1", faults="PutRecord:fail:1") as server:
        kinesis = server.client(config=Config(retries={"total_max_attempts": 1}))
        with pytest.raises(ClientError):
            kinesis.put_record(StreamName="clicks", PartitionKey="user-3", Data=b"hello")
        kinesis.put_record(StreamName="clicks", PartitionKey="user-3", Data=b"hello")


def test_options_reach_the_server():
    with anabranch.Server(
        streams=["clicks:1"],
        faults=["PutRecord:throttle:1", "ListStreams:fail:1"],
        fault_seed=7,
        emulate=["changes", "throughput"],
        region="eu-west-1",
        account_id="123456789012",
        arguments=["--shard-limit", "3", "--log=debug"],
    ) as server:
        once = server.client(config=Config(retries={"total_max_attempts": 1}))
        summary = once.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]
        assert summary["StreamARN"] == "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
        assert once.describe_limits()["ShardLimit"] == 3
        with pytest.raises(once.exceptions.ProvisionedThroughputExceededException):
            once.put_record(StreamName="clicks", PartitionKey="user-3", Data=b"hello")
        with pytest.raises(ClientError):
            once.list_streams()
        assert "DEBUG" in server.log()


def test_streams_in_a_directory_survive_a_killed_server(tmp_path):
    data_dir = tmp_path / "data"
    with anabranch.Server(streams="clicks:1", data_dir=data_dir) as server:
        address = server.url[len("http://") :]
        server.client().put_record(StreamName="clicks", PartitionKey="user-3", Data=b"hello")
        server.kill()
        assert server.process.returncode == -signal.SIGKILL
    with anabranch.Server(data_dir=data_dir, listen=address) as server:
        assert server.url == f"http://{address}"
        kinesis = server.client()
        position = kinesis.get_shard_iterator(
            StreamName="clicks", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
        )
        records = kinesis.get_records(ShardIterator=position["ShardIterator"])["Records"]
        assert [record["Data"] for record in records] == [b"hello"]


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_program_may_log_in_json(tmp_path, in_memory):
    data_dir = None if in_memory else tmp_path / "data"
    with anabranch.Server("clicks:1", data_dir=data_dir, arguments=["--log-format=json"]) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
        assert server.client().list_streams()["StreamNames"] == ["clicks"]
    assert all(json.loads(line) for line in server.log().splitlines())


def test_a_server_is_there_for_as_long_as_a_client_is():
    server = anabranch.Server("clicks:1")
    process = server.process
    list_streams = server.client().list_streams
    del server
    gc.collect()
    assert list_streams()["StreamNames"] == ["clicks"]
    del list_streams
    gc.collect()
    assert process.returncode == 0


def test_a_region_is_a_place_of_its_own():
    with anabranch.Server(streams="clicks:1") as server:
        region = anabranch.fresh_region()
        assert region != anabranch.fresh_region()
        kinesis = server.client(region_name=region)
        assert kinesis.list_streams()["StreamNames"] == []
        kinesis.create_stream(StreamName="clicks", ShardCount=3)
        arn = kinesis.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamARN"]
        assert arn == f"arn:aws:kinesis:{region}:000000000000:stream/clicks"
        assert len(kinesis.list_shards(StreamARN=arn)["Shards"]) == 3
        assert len(server.client().list_shards(StreamName="clicks")["Shards"]) == 1


def test_a_client_that_the_program_makes_finds_the_server_by_the_environment():
    script = "import boto3; print(boto3.client('kinesis').list_streams()['StreamNames'])"
    with anabranch.Server(streams="clicks:1@eu-west-1") as server:
        environment = {**os.environ, **server.environment(region="eu-west-1")}
        printed = subprocess.run([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, check=True)
    assert printed.stdout == b"['clicks']\n"


def test_a_client_asks_no_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with anabranch.Server(streams="clicks:1") as server:
        assert server.client(config=Config(user_agent="test")).list_streams()["StreamNames"] == ["clicks"]


def test_the_environment_does_not_configure_the_server(monkeypatch, tmp_path):
    monkeypatch.setenv("ANABRANCH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ANABRANCH_FAULT", "*:fail:100%")
    with anabranch.Server() as server:
        server.client().list_streams()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"faults": "Put:throttle:1"}, "Put"),
        ({"region": "here"}, '"here"'),
        ({"streams": "clicks:none"}, "expected a number of shards"),
        ({"arguments": ["--no-such-option"]}, "--no-such-option"),
    ],
)
def test_a_server_that_does_not_start_says_why(options, reason):
    with pytest.raises(anabranch.ServerError, match="did not start, and ended with status [1-9]") as raised:
        anabranch.Server(**options)
    assert reason in raised.value.log
    assert reason in str(raised.value)


def test_a_server_that_takes_too_long_is_killed(tmp_path):
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\necho waiting >&2\nexec sleep 1000\n")
    program.chmod(0o755)
    with pytest.raises(anabranch.ServerError, match="did not start within 0.5 s") as raised:
        anabranch.Server(program=program, startup_timeout=0.5)
    assert raised.value.log == "waiting\n"


def test_a_server_that_ended_by_itself_is_told():
    with pytest.raises(anabranch.ServerError, match="had ended by itself, by signal 9"):
        with anabranch.Server() as server:
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()


def test_what_went_wrong_in_the_block_comes_before_what_went_wrong_with_the_server():
    with pytest.raises(EndpointConnectionError):
        with anabranch.Server() as server:
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
            server.client(config=Config(retries={"total_max_attempts": 1})).list_streams()


def open_files():
    return sorted(os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs the list of open files that Linux has")
def test_no_file_and_no_process_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    gc.collect()
    before = len(open_files())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ended = []
        for end in [anabranch.Server.stop, anabranch.Server.kill, lambda server: None]:
            server = anabranch.Server()
            ended.append(server.process.pid)
            end(server)
            del server
            gc.collect()
        with pytest.raises(anabranch.ServerError):
            anabranch.Server(region="here")
    gc.collect()
    assert not any(is_running(process_id) for process_id in ended)
    assert len(open_files()) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", ["pass", "os._exit(1)", "os.kill(os.getpid(), signal.SIGKILL)", "raise SystemExit(3)"])
def test_the_server_ends_with_the_process_that_started_it(end):
    script = f"""
import os, signal
import anabranch
server = anabranch.Server()
print(server.url, flush=True)
{end}
"""
    printed = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, timeout=PATIENCE)
    assert printed.stderr == b""
    url = printed.stdout.decode().strip()
    wait_until(lambda: not answers(url))


def test_a_process_that_is_forked_does_not_end_the_server():
    with anabranch.Server(streams="clicks:1") as server:
        child = os.fork()
        if child == 0:
            server.stop()
            server.kill()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert server.client().list_streams()["StreamNames"] == ["clicks"]


def test_a_process_that_is_forked_does_not_keep_the_server_of_a_killed_one():
    script = """
import os, signal, time
import anabranch
server = anabranch.Server()
child = os.fork()
if child == 0:
    os.close(1)
    os.close(2)
    time.sleep(1000)
print(server.url, child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    printed = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, timeout=PATIENCE)
    url, child = printed.stdout.decode().split()
    try:
        wait_until(lambda: not answers(url))
        assert is_running(int(child))
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_an_interrupt_at_the_terminal_is_not_for_the_server():
    with anabranch.Server() as server:
        assert os.getpgid(server.process.pid) != os.getpgid(0)

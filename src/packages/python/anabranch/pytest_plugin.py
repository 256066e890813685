"""Fixtures for pytest. The plugin is there as soon as the package is installed.

``kinesis``
    A boto3 client. Each test has its own, and a region of its own, so that no test sees the streams of another. They are
    deleted when the test is over.
``kinesis_environment``
    For a program that makes its clients itself: the test's environment variables lead to the server, to the same streams
    as ``kinesis``.
``kinesis_region``
    The region of the test.
``kinesis_url``
    Where the server is. There is one for all tests of a session, which is started for the first test that needs it.
``kinesis_server``
    The server itself, an :class:`anabranch.Server`.

A fixture of the same name in a ``conftest.py`` takes the place of one of these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ._server import Server, fresh_region


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("anabranch", "Kinesis streams")
    group.addoption(
        "--anabranch-stream",
        action="append",
        default=[],
        metavar="NAME[:SHARDS]",
        help="a stream that is there for each test; adds to the ini option anabranch_streams",
    )
    group.addoption(
        "--anabranch-fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="calls that fail, such as PutRecords:throttle:25%%; adds to the ini option anabranch_faults",
    )
    group.addoption(
        "--anabranch-program",
        metavar="PATH",
        help="the program anabranch; before the ini option anabranch_program",
    )
    parser.addini("anabranch_streams", "streams that are there for each test: clicks:2 orders", type="args", default=[])
    parser.addini("anabranch_faults", "calls that fail: PutRecords:throttle:25%", type="args", default=[])
    parser.addini("anabranch_arguments", "more arguments of anabranch serve", type="args", default=[])
    parser.addini("anabranch_program", "the path of the program anabranch", default="")


@pytest.fixture(scope="session")
def kinesis_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """A server for all tests of the session."""
    program = pytestconfig.getoption("anabranch_program") or pytestconfig.getini("anabranch_program")
    with Server(
        streams=_streams(pytestconfig),
        faults=[*pytestconfig.getini("anabranch_faults"), *pytestconfig.getoption("anabranch_fault")],
        arguments=pytestconfig.getini("anabranch_arguments"),
        program=program or None,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def kinesis_url(kinesis_server: Server) -> str:
    """Where the server of the session is."""
    return kinesis_server.url


@pytest.fixture
def kinesis_region(kinesis_server: Server, pytestconfig: pytest.Config) -> Iterator[str]:
    """A region for this test alone, with the streams that are wanted at the start."""
    region = fresh_region()
    # One with a region of its own is in that alone, where the server has made it.
    streams = [_parsed(stream) for stream in _streams(pytestconfig) if "@" not in stream]
    try:
        if streams:
            _create(kinesis_server, region, streams)
        yield region
    finally:
        _delete_all(kinesis_server, region)


@pytest.fixture
def kinesis(kinesis_server: Server, kinesis_region: str) -> Iterator[Any]:
    """A boto3 client for the streams of this test."""
    client = kinesis_server.client(region_name=kinesis_region)
    yield client
    client.close()


@pytest.fixture
def kinesis_environment(
    kinesis_server: Server, kinesis_region: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Has clients that the program under test makes itself find the streams of this test. The value is what was set."""
    variables = kinesis_server.environment(kinesis_region)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def _streams(config: pytest.Config) -> list[str]:
    given: list[str] = [*config.getini("anabranch_streams"), *config.getoption("anabranch_stream")]
    return [stream for several in given for stream in several.split(",") if stream]


def _create(server: Server, region: str, streams: list[tuple[str, dict[str, int]]]) -> None:
    from botocore.config import Config  # type: ignore[import-untyped, unused-ignore]

    # The faults that the tests want strike these calls too.
    client = server.client(region_name=region, config=Config(retries={"mode": "standard", "total_max_attempts": 20}))
    for name, arguments in streams:
        try:
            client.create_stream(StreamName=name, **arguments)
        except client.exceptions.ResourceInUseException:
            # A call whose answer was lost has had its effect.
            pass
    for name, _ in streams:
        client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    client.close()


# How long it waits before each attempt to delete the streams of a test, and how many seconds all of that may take.
_PAUSES = [0.0, 0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.2, 0.2, 0.2]
_PATIENCE = 5.0


def _delete_all(server: Server, region: str) -> None:
    """Deletes the streams that a test has left. They would take the server's memory, and shards of its limit, until the session
    ends. The faults that the tests want strike these calls too, so they are made again; but no test fails if streams stay."""
    try:
        from botocore.config import Config  # type: ignore[import-untyped, unused-ignore]

        # The SDK would wait for seconds before it calls again.
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=_PATIENCE, read_timeout=_PATIENCE)
        client = server.client(region_name=region, config=config)
    except Exception:
        # Such as a test with another client than boto3.
        return
    deadline = time.monotonic() + _PATIENCE
    deleted: set[str] = set()
    try:
        for pause in _PAUSES:
            time.sleep(pause)
            if server.process.poll() is not None or time.monotonic() > deadline or _are_deleted(client, deleted):
                break
    finally:
        client.close()


def _are_deleted(client: Any, deleted: set[str]) -> bool:
    """Deletes streams, and adds them to those that are deleted. Whether these are all."""
    names = _listed(client, "list_streams", "StreamNames")
    if names is None:
        return False
    for name in names:
        if name not in deleted and _succeeds(client.delete_stream, StreamName=name, EnforceConsumerDeletion=True):
            deleted.add(name)
    if deleted.issuperset(names):
        return True
    # A stream that has queues or channels is not deleted. An older boto3 does not know them.
    if hasattr(client, "delete_queue"):
        for queue in _listed(client, "list_queues", "QueueSummaries") or ():
            _succeeds(client.delete_queue, QueueARN=queue["QueueARN"])
        for channel in _listed(client, "list_channels", "ChannelSummaries") or ():
            _succeeds(client.delete_channel, ChannelARN=channel["ChannelARN"])
    return False


def _listed(client: Any, operation: str, member: str) -> list[Any] | None:
    try:
        return [item for page in client.get_paginator(operation).paginate() for item in page[member]]
    except Exception:
        return None


def _succeeds(call: Callable[..., Any], **arguments: Any) -> bool:
    try:
        call(**arguments)
    except Exception:
        return False
    return True


def _parsed(stream: str) -> tuple[str, dict[str, int]]:
    """The server has checked the form."""
    name, colon, shards = stream.partition(":")
    return name, {"ShardCount": int(shards)} if colon else {}

"""Fixtures for pytest. The plugin is there as soon as the package is installed.

``kinesis``
    A boto3 client. Each test has its own, and a region of its own, so that no test sees the streams of another.
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

from collections.abc import Iterator
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
def kinesis_region(kinesis_server: Server, pytestconfig: pytest.Config) -> str:
    """A region for this test alone, with the streams that are wanted at the start."""
    region = fresh_region()
    # One with a region of its own is in that alone, where the server has made it.
    streams = [_parsed(stream) for stream in _streams(pytestconfig) if "@" not in stream]
    if streams:
        _create(kinesis_server, region, streams)
    return region


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


def _parsed(stream: str) -> tuple[str, dict[str, int]]:
    """The server has checked the form."""
    name, colon, shards = stream.partition(":")
    return name, {"ShardCount": int(shards)} if colon else {}

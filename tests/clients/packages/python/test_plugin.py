"""The pytest plugin, in runs of pytest of its own."""

import pytest

INDEPENDENT = """
    import pytest

    @pytest.mark.parametrize("test", range(3))
    def test_streams(kinesis, kinesis_url, kinesis_region, test):
        assert kinesis.meta.endpoint_url == kinesis_url
        assert kinesis.meta.region_name == kinesis_region
        assert kinesis.list_streams()["StreamNames"] == []
        kinesis.create_stream(StreamName="clicks", ShardCount=1)
        kinesis.put_record(StreamName="clicks", PartitionKey="user-3", Data=b"hello")
"""


def test_each_test_has_streams_of_its_own(pytester):
    pytester.makepyfile(INDEPENDENT)
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=3)


@pytest.mark.parametrize("configuration", ["anabranch_streams = clicks:2 orders other:1@eu-west-1", None])
def test_streams_can_be_there_for_each_test(pytester, configuration):
    arguments = ["-W", "error"]
    if configuration:
        pytester.makeini(f"[pytest]\n{configuration}\n")
    else:
        arguments += ["--anabranch-stream", "clicks:2,orders", "--anabranch-stream=other:1@eu-west-1"]
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("test", range(2))
        def test_streams(kinesis, test):
            assert kinesis.list_streams()["StreamNames"] == ["clicks", "orders"]
            assert len(kinesis.list_shards(StreamName="clicks")["Shards"]) == 2
            assert len(kinesis.list_shards(StreamName="orders")["Shards"]) == 4
            assert len(kinesis.get_paginator("list_shards").paginate(StreamName="clicks").build_full_result()["Shards"]) == 2
            kinesis.delete_stream(StreamName="orders")

        def test_regions(kinesis_server):
            assert kinesis_server.client().list_streams()["StreamNames"] == ["clicks", "orders"]
            assert kinesis_server.client(region_name="eu-west-1").list_streams()["StreamNames"] == ["other"]
        """
    )
    pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=3)


def test_faults_strike_calls_of_tests(pytester):
    pytester.makeini(
        """
        [pytest]
        anabranch_streams = clicks:1
        anabranch_faults = PutRecord:throttle:100% CreateStream:lose:2 ListStreams:fail:1
        anabranch_arguments = --emulate throughput --shard-limit 77
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from botocore.config import Config
        from botocore.exceptions import ClientError

        def test_faults(kinesis_server, kinesis_region):
            once = Config(retries={"total_max_attempts": 1})
            kinesis = kinesis_server.client(region_name=kinesis_region, config=once)
            assert kinesis.describe_limits()["ShardLimit"] == 77
            with pytest.raises(ClientError):
                kinesis.list_streams()
            assert kinesis.list_streams()["StreamNames"] == ["clicks"]
            with pytest.raises(kinesis.exceptions.ProvisionedThroughputExceededException):
                kinesis.put_record(StreamName="clicks", PartitionKey="user-3", Data=b"hello")
            with pytest.raises(ClientError):
                kinesis.put_records(StreamName="clicks", Records=[{"PartitionKey": "user-3", "Data": b"hello"}])
        """
    )
    pytester.runpytest_subprocess("--anabranch-fault", "PutRecords:fail:100%").assert_outcomes(passed=1)


def test_the_program_finds_the_streams_of_the_test_by_itself(pytester):
    pytester.makeini("[pytest]\nanabranch_streams = clicks:1\n")
    pytester.makepyfile(
        """
        import boto3
        import os

        def put():
            return boto3.client("kinesis").put_record(StreamName="clicks", PartitionKey="user-3", Data=b"hello")

        def test_the_program(kinesis_environment, kinesis):
            put()
            iterator = kinesis.get_shard_iterator(
                StreamName="clicks", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            assert [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]] == [b"hello"]
            assert os.environ["AWS_REGION"] == kinesis_environment["AWS_REGION"] == kinesis.meta.region_name

        def test_the_environment_afterwards():
            assert "AWS_ENDPOINT_URL_KINESIS" not in os.environ
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=2)


def test_without_a_program_the_tests_say_why(pytester):
    pytester.makepyfile(INDEPENDENT)
    result = pytester.runpytest_subprocess("--anabranch-program", "no-such-program")
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["*no-such-program*"])


def test_no_server_is_started_that_no_test_needs(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    pytester.makeini("[pytest]\nanabranch_program = no-such-program\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_the_fixtures_and_options_are_described(pytester):
    fixtures = pytester.runpytest_subprocess("--fixtures").stdout.str()
    assert "kinesis_url [session scope]" in fixtures
    assert "A boto3 client for the streams of this test." in fixtures
    described = pytester.runpytest_subprocess("--help").stdout.str()
    for option in ["--anabranch-stream=", "--anabranch-fault=", "--anabranch-program=", "anabranch_arguments (args)"]:
        assert option in described

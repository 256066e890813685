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


def test_the_streams_of_a_test_are_deleted_when_it_is_over(pytester):
    pytester.makeini(
        """
        [pytest]
        anabranch_streams = clicks:2
        anabranch_arguments = --shard-limit 8
        """
    )
    pytester.makepyfile(
        """
        import pytest

        regions = []
        bucket = {"BucketARN": "arn:aws:s3:::archive", "ExpectedBucketOwner": "000000000000"}

        @pytest.mark.parametrize("test", range(3))
        def test_streams(kinesis, kinesis_region, test):
            clicks = kinesis.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamARN"]
            kinesis.register_stream_consumer(StreamARN=clicks, ConsumerName="reader")
            kinesis.create_stream(StreamName="jobs", StreamModeDetails={"StreamMode": "ON_DEMAND"})
            jobs = kinesis.describe_stream_summary(StreamName="jobs")["StreamDescriptionSummary"]["StreamARN"]
            kinesis.create_queue(
                QueueName="resize",
                StreamConfigurationList=[{"StreamARN": jobs, "StartingPosition": {"Type": "TRIM_HORIZON"}}],
            )
            kinesis.create_channel(
                ChannelName="archive",
                ServiceExecutionRoleARN="arn:aws:iam::000000000000:role/delivery",
                StreamConfigurationList=[{"StreamARN": jobs, "RecordConfiguration": {"RecordFormatType": "JSON"}}],
                S3DestinationConfiguration={
                    "StorageConfiguration": {**bucket, "CompressionType": "GZIP"},
                    "DeadLetterQueueS3Configuration": bucket,
                },
            )
            with pytest.raises(kinesis.exceptions.ResourceInUseException):
                kinesis.delete_stream(StreamName="jobs")
            regions.append(kinesis_region)

        def test_what_is_left(kinesis_server):
            assert len(regions) == 3
            for region in regions:
                assert kinesis_server.client(region_name=region).list_streams()["StreamNames"] == []
            assert kinesis_server.client().list_streams()["StreamNames"] == ["clicks"]
        """
    )
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=4)


@pytest.mark.parametrize(
    "faults", ["ListStreams:fail:2 DeleteStream:lose:1 DeleteStream:throttle:2", "ListStreams:lose:30% DeleteStream:fail:50%"]
)
def test_streams_are_deleted_although_faults_strike(pytester, faults):
    pytester.makeini(f"[pytest]\nanabranch_faults = {faults}\nanabranch_arguments = --shard-limit 2\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("test", range(4))
        def test_streams(kinesis, test):
            kinesis.create_stream(StreamName="clicks", ShardCount=1)
            kinesis.create_stream(StreamName="orders", ShardCount=1)
        """
    )
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=4)


@pytest.mark.parametrize("fault", ["DeleteStream:fail:100%", "ListStreams:throttle:100%", "ListStreams:lose:100%"])
def test_no_test_fails_because_streams_stay(pytester, fault):
    pytester.makepyfile(
        """
        def test_streams(kinesis):
            kinesis.create_stream(StreamName="clicks", ShardCount=1)

        def test_a_server_that_is_gone(kinesis, kinesis_server):
            kinesis_server.kill()
        """
    )
    pytester.runpytest_subprocess("-W", "error", "--anabranch-fault", fault).assert_outcomes(passed=2)


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

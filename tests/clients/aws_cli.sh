#!/usr/bin/env bash
# The tutorial's steps with the AWS command line (version 1 or 2), each with a check.
#
# Needs: an aws on the PATH that finds the server, AWS_DEFAULT_REGION and credentials in the environment.
set -euo pipefail

source "$(dirname "$0")/expect.sh"

aws kinesis create-stream --stream-name people --shard-count 1
aws kinesis wait stream-exists --stream-name people
expect_in "the streams" '"people"' "$(aws kinesis list-streams)"
refused ResourceInUseException aws kinesis create-stream --stream-name people --shard-count 1

put=$(aws kinesis put-record --stream-name people --partition-key Ada --data '{"first_name": "Ada", "age": 27}' \
    --query '[ShardId, SequenceNumber]' --output text)
number=${put#*$'\t'}
expect "the shard of a put" shardId-000000000000 "${put%$'\t'*}"
[[ "$number" =~ ^[1-9][0-9]{55}$ ]] || expect "a sequence number" "56 digits" "$number"

summary=$(aws kinesis describe-stream-summary --stream-name people)
expect_in "the summary" '"StreamStatus": "ACTIVE"' "$summary"
expect_in "the summary" '"OpenShardCount": 1' "$summary"
expect_in "the summary" '"RetentionPeriodHours": 24' "$summary"
refused ResourceNotFoundException aws kinesis describe-stream-summary --stream-name nobody

iterator=$(aws kinesis get-shard-iterator --stream-name people --shard-id shardId-000000000000 \
    --shard-iterator-type TRIM_HORIZON --query ShardIterator --output text)
records=$(aws kinesis get-records --shard-iterator "$iterator")
expect_in "the record" '"PartitionKey": "Ada"' "$records"
expect_in "the record" "\"SequenceNumber\": \"$number\"" "$records"
expect_in "the record" "\"Data\": \"$(printf '{"first_name": "Ada", "age": 27}' | base64)\"" "$records"
expect_in "the way on" '"NextShardIterator": "' "$records"
refused InvalidArgumentException aws kinesis get-records --shard-iterator forged

aws kinesis increase-stream-retention-period --stream-name people --retention-period-hours 168
expect "the retention" 168 "$(aws kinesis describe-stream-summary --stream-name people \
    --query StreamDescriptionSummary.RetentionPeriodHours --output text)"

aws kinesis split-shard --stream-name people --shard-to-split shardId-000000000000 \
    --new-starting-hash-key 170141183460469231731687303715884105728
aws kinesis wait stream-exists --stream-name people
expect "the shards after the split" \
    $'shardId-000000000000\tNone\nshardId-000000000001\tshardId-000000000000\nshardId-000000000002\tshardId-000000000000' \
    "$(aws kinesis list-shards --stream-name people --query 'Shards[].[ShardId, ParentShardId]' --output text)"
expect "the open shards" $'shardId-000000000001\tshardId-000000000002' "$(aws kinesis list-shards \
    --stream-name people --shard-filter Type=AT_LATEST --query 'Shards[].ShardId' --output text)"
page=$(aws kinesis list-shards --stream-name people --no-paginate --max-results 2 \
    --query '[length(Shards), NextToken]' --output text)
expect "the shards on the first page" 2 "${page%$'\t'*}"
# A token stands for the stream and all else that the first page was asked for.
expect "the shards on the second page" shardId-000000000002 "$(aws kinesis list-shards --no-paginate \
    --next-token "${page#*$'\t'}" --query 'Shards[].ShardId' --output text)"
refused InvalidArgumentException aws kinesis split-shard --stream-name people \
    --shard-to-split shardId-000000000001 --new-starting-hash-key 0

aws kinesis merge-shards --stream-name people --shard-to-merge shardId-000000000001 \
    --adjacent-shard-to-merge shardId-000000000002
aws kinesis wait stream-exists --stream-name people
expect "the merged shard" $'shardId-000000000003\tshardId-000000000001\tshardId-000000000002' \
    "$(aws kinesis list-shards --stream-name people --shard-filter Type=AT_LATEST \
        --query 'Shards[].[ShardId, ParentShardId, AdjacentParentShardId]' --output text)"

expect_in "the number of shards that there will be" '"TargetShardCount": 2' "$(aws kinesis update-shard-count \
    --stream-name people --target-shard-count 2 --scaling-type UNIFORM_SCALING)"
aws kinesis wait stream-exists --stream-name people
expect "the open shards after that" 2 "$(aws kinesis describe-stream-summary --stream-name people \
    --query StreamDescriptionSummary.OpenShardCount --output text)"

expect_in "FailedRecordCount" '"FailedRecordCount": 0' "$(aws kinesis put-records --stream-name people \
    --records PartitionKey=Ada,Data=one PartitionKey=Grace,Data=two)"
refused ValidationException aws kinesis put-record --stream-name 'no blanks' --partition-key Ada --data x

aws kinesis delete-stream --stream-name people
aws kinesis wait stream-not-exists --stream-name people
expect_in "the streams at the end" '"StreamNames": []' "$(aws kinesis list-streams)"
echo "the AWS command line: every step as expected"

#!/usr/bin/env bash
# All operations on queues, channels and encryption with the AWS command line (version 1), which is told of them by the model
# of a newer boto3.
#
#     queues_aws_cli.sh PYTHON
#
# The server has a bucket clicks-archive. Needs: a PYTHON that has boto3, aws on the PATH, and HOME, AWS_ENDPOINT_URL_KINESIS, AWS_DEFAULT_REGION and credentials
# in the environment. The model is written below HOME.
set -euo pipefail

source "$(dirname "$0")/expect.sh"

entry() { # a receipt handle
    printf '[{"ReceiptHandle": "%s"}]' "$1"
}
freed() { # a receipt handle
    printf '[{"ReceiptHandle": "%s", "VisibilityTimeoutSeconds": 0}]' "$1"
}
on_entries() { # the operation, its entries: gives how many of them succeed and fail
    aws kinesis "$1" --queue-arn "$queue" --entries "$2" --query '[length(Successful), length(Failed)]' --output text
}
receive() { # the operation: gives the partition keys and receipt handles, each on a line, in the order of the keys
    aws kinesis "$1" --queue-arn "$queue" --wait-time-seconds 5 \
        --query 'QueueRecords[].[PartitionKey, ReceiptHandle]' --output text | sort
}
receive_dead_letter() { # gives the handle of the only one, which is the bad job
    local dead
    dead=$(receive receive-dead-letter-queue-records)
    expect "the dead letters" bad "${dead%$'\t'*}"
    printf '%s' "${dead#*$'\t'}"
}

"$1" -c 'import json, botocore.loaders
print(json.dumps(botocore.loaders.Loader().load_service_model("kinesis", "service-2")))' > "$HOME/kinesis.json"
aws configure add-model --service-name kinesis --service-model "file://$HOME/kinesis.json"

aws kinesis create-stream --stream-name jobs --stream-mode-details StreamMode=ON_DEMAND
aws kinesis wait stream-exists --stream-name jobs
stream=$(aws kinesis describe-stream-summary --stream-name jobs \
    --query StreamDescriptionSummary.StreamARN --output text)
queue=$(aws kinesis create-queue --queue-name resize \
    --stream-configuration-list "StreamARN=$stream,StartingPosition={Type=TRIM_HORIZON}" \
    --queue-attributes 'VisibilityTimeoutSeconds=60,DeadLetterConfiguration={TargetType=BUILT_IN,MaxReceiveCount=1}' \
    --query QueueDescription.QueueARN --output text)
expect "the queue" $'resize\tACTIVE\t60' "$(aws kinesis describe-queue --queue-arn "$queue" --output text \
    --query 'QueueDescription.[QueueName, QueueStatus, QueueAttributes.VisibilityTimeoutSeconds]')"
expect "the queues" $'resize\t'"$queue" "$(aws kinesis list-queues \
    --query 'QueueSummaries[].[QueueName, QueueARN]' --output text)"
expect "the attributes after a change" $'90\t1' "$(aws kinesis update-queue --queue-arn "$queue" \
    --queue-attributes VisibilityTimeoutSeconds=90 --output text \
    --query 'QueueDescription.QueueAttributes.[VisibilityTimeoutSeconds, DeadLetterConfiguration.MaxReceiveCount]')"

aws kinesis put-records --stream-name jobs --records PartitionKey=good,Data=1 PartitionKey=bad,Data=2 > "$HOME/put.json"
received=$(receive receive-queue-records)
expect "the jobs" $'bad\ngood' "$(cut -f1 <<< "$received")"
{ read -r _ bad && read -r _ good; } <<< "$received"
expect "an acknowledgement" $'1\t0' "$(on_entries acknowledge-queue-records "$(entry "$good")")"
expect "a forged acknowledgement" $'0\t1' "$(on_entries acknowledge-queue-records "$(entry forged)")"

expect "a job that is given back" $'1\t0' "$(on_entries update-queue-records-visibility "$(freed "$bad")")"
dead=$(receive_dead_letter)
expect "a dead letter that is given back" $'1\t0' \
    "$(on_entries update-dead-letter-queue-records-visibility "$(freed "$dead")")"
dead=$(receive_dead_letter)
expect "a dead letter that is restored" $'1\t0' "$(on_entries restore-dead-letter-queue-records "$(entry "$dead")")"
again=$(receive receive-queue-records)
expect "the restored job" bad "${again%$'\t'*}"
expect "a job that is given back again" $'1\t0' \
    "$(on_entries update-queue-records-visibility "$(freed "${again#*$'\t'}")")"
dead=$(receive_dead_letter)
expect "a dead letter that is given up" $'1\t0' \
    "$(on_entries acknowledge-dead-letter-queue-records "$(entry "$dead")")"

encryption() { # gives that of the stream
    aws kinesis describe-stream-summary --stream-name jobs --output text \
        --query 'StreamDescriptionSummary.[EncryptionType, KeyId]'
}
aws kinesis start-stream-encryption --stream-name jobs --encryption-type KMS --key-id alias/mine
expect "the encryption" $'KMS\talias/mine' "$(encryption)"
aws kinesis stop-stream-encryption --stream-name jobs --encryption-type KMS --key-id alias/mine
expect "no encryption" $'NONE\tNone' "$(encryption)"

channel=$(aws kinesis create-channel --channel-name archive \
    --service-execution-role-arn arn:aws:iam::000000000000:role/deliver \
    --stream-configuration-list "StreamARN=$stream,RecordConfiguration={RecordFormatType=STRING}" \
    --s3-destination-configuration '{"StorageConfiguration": {"BucketARN": "arn:aws:s3:::clicks-archive",
        "ExpectedBucketOwner": "000000000000", "CompressionType": "GZIP"}}' \
    --query ChannelDescription.ChannelARN --output text)
expect "the channel" $'archive\tACTIVE' "$(aws kinesis describe-channel --channel-arn "$channel" --output text \
    --query 'ChannelDescription.[ChannelName, ChannelStatus]')"
expect "the channels" $'archive\t'"$channel" "$(aws kinesis list-channels \
    --query 'ChannelSummaries[].[ChannelName, ChannelARN]' --output text)"
expect "the freshness after a change" 600 "$(aws kinesis update-channel --channel-arn "$channel" \
    --s3-destination-configuration DataFreshnessInSeconds=600 --output text \
    --query ChannelDescription.S3DestinationConfiguration.DataFreshnessInSeconds)"
refused ResourceInUseException aws kinesis delete-stream --stream-name jobs --enforce-consumer-deletion
aws kinesis delete-channel --channel-arn "$channel"
refused ResourceNotFoundException aws kinesis describe-channel --channel-arn "$channel"

refused ResourceInUseException aws kinesis delete-stream --stream-name jobs --enforce-consumer-deletion
aws kinesis delete-queue --queue-arn "$queue"
refused ResourceNotFoundException aws kinesis describe-queue --queue-arn "$queue"
refused ValidationException aws kinesis describe-queue --queue-arn resize
aws kinesis delete-stream --stream-name jobs
echo "the AWS command line: every operation on queues, channels and encryption as expected"

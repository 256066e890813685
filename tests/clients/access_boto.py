"""Right and wrong keys with boto3 and boto 2, over TLS if a certificate is given, and a presigned request.

Run as: python access_boto.py URL [CERTIFICATE]
"""

import hashlib
import sys
from urllib.parse import urlsplit

import boto3
import urllib3
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, SSLError

URL = sys.argv[1]
CERTIFICATE = sys.argv[2] if len(sys.argv) > 2 else None
REGION = "eu-west-1"


def client(key_id, secret, token=None, verify=CERTIFICATE):
    return boto3.client(
        "kinesis",
        endpoint_url=URL,
        region_name=REGION,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        verify=verify,
        config=Config(retries={"total_max_attempts": 1}),
    )


def refused(call):
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError("it was not refused")


alice = client("AKIDALICE", "secret/of+alice")
bob = client("AKIDBOB", "secret/of+bob", "token+of/bob=")

alice.create_stream(StreamName="clicks", ShardCount=1)
put = alice.put_record(StreamName="clicks", PartitionKey="k", Data=b"x" * 500_000)
assert put["ShardId"] == "shardId-000000000000", put
assert alice.list_streams()["StreamNames"] == ["clicks"]

# Another account has streams of its own.
assert bob.list_streams()["StreamNames"] == []
arn = alice.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamARN"]
assert refused(lambda: bob.describe_stream_summary(StreamARN=arn)) == "AccessDeniedException"

for key, code in [
    (("AKIDALICE", "wrong"), "InvalidSignatureException"),
    (("AKIDBOB", "secret/of+bob", "wrong"), "UnrecognizedClientException"),
    (("AKIDBOB", "secret/of+bob"), "UnrecognizedClientException"),
    (("any", "any"), "UnrecognizedClientException"),
]:
    assert refused(client(*key).list_streams) == code, key


class Presigner(SigV4QueryAuth):
    """Signs a request whose body is not moved into the query string."""

    def payload(self, request):
        return hashlib.sha256(BODY).hexdigest()


BODY = b'{"StreamName":"clicks"}'
pool = urllib3.PoolManager(ca_certs=CERTIFICATE)
for secret, token, status in [("secret/of+bob", "token+of/bob=", 400), ("secret/of+alice", None, 200), ("x", None, 400)]:
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "Kinesis_20131202.DescribeStreamSummary",
    }
    request = AWSRequest("POST", URL + "/", headers=dict(headers))
    key_id = "AKIDBOB" if token else "AKIDALICE"
    Presigner(Credentials(key_id, secret, token), "kinesis", REGION, expires=60).add_auth(request)
    reply = pool.request("POST", request.url, body=BODY, headers=headers)
    assert reply.status == status, reply.data
    if token:
        # The signature is right, and the stream is not there for this account.
        assert b"ResourceNotFoundException" in reply.data, reply.data

if CERTIFICATE:
    try:
        client("AKIDALICE", "secret/of+alice", verify=True).list_streams()
    except SSLError:
        pass
    else:
        raise AssertionError("a certificate that nothing has signed was trusted")
    plain = urllib3.PoolManager().request("POST", URL.replace("https:", "http:"), body=b"{}")
    assert plain.status == 400 and b"https://" in plain.data, plain.data

# boto 2 signs for the region and the service that it takes the server's address for.
if sys.version_info < (3, 12) and not CERTIFICATE:
    from boto.exception import JSONResponseError
    from boto.kinesis.layer1 import KinesisConnection
    from boto.regioninfo import RegionInfo

    def old_client(secret):
        return KinesisConnection(
            host="127.0.0.1",
            port=urlsplit(URL).port,
            is_secure=False,
            aws_access_key_id="AKIDALICE",
            aws_secret_access_key=secret,
            region=RegionInfo(name=REGION, endpoint=f"kinesis.{REGION}.amazonaws.com"),
        )

    old_client("secret/of+alice").list_streams()
    try:
        old_client("wrong").list_streams()
    except JSONResponseError as error:
        assert error.body["__type"] == "InvalidSignatureException", error.body
    else:
        raise AssertionError("it was not refused")

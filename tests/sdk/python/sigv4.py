"""Judges one signed request by botocore, which signs it anew from what arrived.

Reads a JSON object from standard input: method, url, headers (as they came), body, access_key, secret_key, token,
region. Exits with 1 and says why when the signature, its scope or its time is not what AWS would accept.
"""

import datetime
import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

came = json.load(sys.stdin)
headers = {name.lower(): value for name, value in came["headers"].items()}
algorithm, fields = headers["authorization"].split(" ", 1)
fields = dict(field.split("=", 1) for field in fields.split(", "))
signed = fields["SignedHeaders"].split(";")
stamp = headers["x-amz-date"]

assert algorithm == "AWS4-HMAC-SHA256", algorithm
scope = f"{came['access_key']}/{stamp[:8]}/{came['region']}/bedrock/aws4_request"
assert fields["Credential"] == scope, (fields["Credential"], scope)
assert headers.get("x-amz-security-token") == came["token"], "the session token"
assert {"host", "x-amz-date"} <= set(signed), signed
assert all(name in signed for name in headers if name.startswith("x-amz-")), signed
sent = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
skew = abs((datetime.datetime.now(datetime.timezone.utc) - sent).total_seconds())
assert skew < 300, f"signed {skew} s ago"

request = AWSRequest(
    method=came["method"], url=came["url"], data=came["body"].encode(), headers={name: headers[name] for name in signed}
)
request.context["timestamp"] = stamp
judge = SigV4Auth(Credentials(came["access_key"], came["secret_key"], came["token"]), "bedrock", came["region"])
canonical = judge.canonical_request(request)
expected = judge.signature(judge.string_to_sign(request, canonical), request)
assert fields["Signature"] == expected, f"botocore signs {expected} over\n{canonical}"

"""Judges event streams by botocore's own parser: those that are said to be readable, and those that are not.

usage: frames.py <STREAMS, where STREAMS is a JSON list of {name, wire in hex, readable}
"""

import json
import sys

from botocore.eventstream import ChecksumMismatch, InvalidHeadersLength, InvalidPayloadLength

import judge
from judge.aws import parsed


def complaints(stream):
    try:
        _, said = parsed(bytes.fromhex(stream["wire"]))
    except (ChecksumMismatch, InvalidHeadersLength, InvalidPayloadLength) as error:
        return [repr(error)]
    return said or judge.events("bedrock", "/converse-stream", bytes.fromhex(stream["wire"]))


failures = []
for stream in json.load(sys.stdin):
    found = complaints(stream)
    if bool(found) == stream["readable"]:
        failures.append(f"{stream['name']}: {found or 'read without a complaint'}")
sys.exit("\n".join(failures) or 0)

"""Bedrock, by botocore: its service model for requests, its parsers for answers and event streams."""

import base64
import json
import re
import urllib.parse

import botocore.parsers
import botocore.session
from botocore.eventstream import EventStreamBuffer
from botocore.validate import ParamValidator

MODEL = botocore.session.get_session().get_service_model("bedrock-runtime")
OPERATIONS = {
    "converse": "Converse",
    "converse-stream": "ConverseStream",
    "count-tokens": "CountTokens",
    "invoke": "InvokeModel",
}
# Bodies of InvokeModel, by whose model it is: what each maker documents.
NATIVE = {
    "amazon.titan-embed": {"inputText", "dimensions", "normalize", "embeddingTypes"},
    "cohere.embed": {"texts", "input_type", "embedding_types", "output_dimension", "truncate", "images"},
}


def decoded(shape, value):
    """JSON as the parameters that botocore takes: bytes where the shape says blob."""
    if shape.type_name == "blob":
        return base64.b64decode(value, validate=True)
    if shape.type_name == "structure" and isinstance(value, dict) and not getattr(shape, "is_document_type", False):
        members = shape.members
        return {k: decoded(members[k], v) if k in members else v for k, v in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [decoded(shape.member, one) for one in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {k: decoded(shape.value, v) for k, v in value.items()}
    return value


def words(shape, value, path):
    """Enumerations and patterns, which botocore's validator leaves to the service."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, inner in value.items():
            if name in shape.members:
                yield from words(shape.members[name], inner, f"{path}.{name}")
    elif shape.type_name == "list" and isinstance(value, list):
        for at, inner in enumerate(value):
            yield from words(shape.member, inner, f"{path}[{at}]")
    elif shape.type_name == "string" and isinstance(value, str):
        enum, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
        if enum and value not in enum:
            yield f"{path}: {value!r} is none of {enum}"
        if pattern and not re.search(f"^(?:{pattern})$", value):
            yield f"{path}: {value!r} does not match {pattern}"


class Bedrock:
    def request(self, path, body):
        found = re.fullmatch(r"/model/([^/]+)/([a-z-]+)", path)
        if not found or found[2] not in OPERATIONS:
            return [f"no such path: {path}"]
        if found[1] != urllib.parse.quote(urllib.parse.unquote(found[1]), safe=""):
            return [f"a model id that is not encoded as one segment: {found[1]}"]
        model = urllib.parse.unquote(found[1])
        if found[2] == "invoke":
            return self.native(model, body)
        shape = MODEL.operation_model(OPERATIONS[found[2]]).input_shape
        parameters = dict(decoded(shape, body), modelId=model)
        report = ParamValidator().validate(parameters, shape)
        said = report.generate_report().splitlines() if report.has_errors() else []
        return said + list(words(shape, parameters, ""))

    def native(self, model, body):
        for maker, known in NATIVE.items():
            if maker in model:
                return [f"{name}: unknown member" for name in body.keys() - known]
        return [f"no embeddings of {model}"]

    def answer(self, path, body):
        operation = OPERATIONS[path.rsplit("/", 1)[1]]
        if operation == "InvokeModel":
            return []
        shape = MODEL.operation_model(operation).output_shape
        report = ParamValidator().validate(decoded(shape, body), shape)
        return report.generate_report().splitlines() if report.has_errors() else []

    def events(self, path, wire):
        """Reads a stream as boto3 would; its exceptions are not complaints, broken frames and events are."""
        found, (messages, said) = [], parsed(wire)
        shape = MODEL.operation_model("ConverseStream").output_shape.members["stream"]
        for headers, event in messages:
            kind = headers[":message-type"]
            name = headers.get(":event-type") or headers.get(":exception-type")
            if kind == "error":
                continue
            if name not in shape.members:
                found.append(f"no such event: {name}")
                continue
            report = ParamValidator().validate(decoded(shape.members[name], event), shape.members[name])
            found += report.generate_report().splitlines() if report.has_errors() else []
        return found + said


BEDROCK = Bedrock()


def parsed(wire):
    """The messages of an event stream with their JSON, each also read by botocore's parser of this stream."""
    buffer = EventStreamBuffer()
    buffer.add_data(wire)
    shape = MODEL.operation_model("ConverseStream").output_shape.members["stream"]
    parser = botocore.parsers.EventStreamJSONParser()
    messages, said = [], []
    for message in buffer:
        payload = json.loads(message.payload or b"{}")
        payload.pop("p", None)
        messages.append((message.headers, payload))
        read = parser.parse(message.to_response_dict(), shape)
        if message.headers[":message-type"] == "event" and not read:
            said.append(f"botocore reads nothing from {message.headers}")
    if buffer._data:
        said.append(f"{len(buffer._data)} bytes after the last whole message")
    return messages, said

"""Cohere's second version, by its SDK: the parameters of its client's calls, and its models."""

from __future__ import annotations

import inspect
import json
import typing

from cohere.types.embed_by_type_response import EmbedByTypeResponse
from cohere.v2.client import V2Client
from cohere.v2.types.v2chat_response import V2ChatResponse
from cohere.v2.types.v2chat_stream_response import V2ChatStreamResponse
from pydantic import TypeAdapter

from judge import complaints


def parameters(call):
    """The members of the body that a call of the client sends, with their types."""
    hints = typing.get_type_hints(call, include_extras=True)
    return {
        name: (TypeAdapter(hints[name]), parameter.default is inspect.Parameter.empty)
        for name, parameter in inspect.signature(call).parameters.items()
        if name not in ("self", "request_options")
    }


class Cohere:
    def __init__(self):
        self.calls = {"/v2/chat": parameters(V2Client.chat), "/v2/embed": parameters(V2Client.embed)}

    def request(self, path, body):
        call = self.calls.get(path)
        if call is None:
            return [f"no such path: {path}"]
        found = [f"{name}: missing" for name, (_, needed) in call.items() if needed and name not in body]
        for name, value in body.items():
            if name == "stream":
                found += [] if value is True else ["stream: only true is said"]
            elif name not in call:
                found.append(f"{name}: unknown member")
            else:
                kind = call[name][0]
                check = lambda: complaints.unknown(kind.validate_python(value))
                found += [f"{name}{c}" for c in complaints.of(check)]
        return found

    def answer(self, path, body):
        model = V2ChatResponse if path == "/v2/chat" else EmbedByTypeResponse
        return complaints.of(lambda: complaints.unknown(TypeAdapter(model).validate_python(body)))

    def events(self, path, wire):
        event = TypeAdapter(V2ChatStreamResponse)

        def each():
            for data in complaints.sse(wire):
                read = event.validate_python(json.loads(data))
                # The API starts with the whole empty message, of which the SDK knows the role only.
                if read.type != "message-start":
                    yield from complaints.unknown(read)

        return complaints.of(each)


COHERE = Cohere()

"""OpenAI and Anthropic: the SDKs' TypedDicts for requests, their models for answers.

pydantic reads an `Iterable[...]` lazily and lets a TypedDict have members that it does not know. Both would make a
judge that lets everything pass, so the types are rebuilt with lists for iterables and closed dictionaries.
"""

import collections.abc
import json
import os
import re
import types
import typing

import anthropic.types
import openai.types.chat
import typing_extensions
from anthropic.types import MessageCountTokensParams, RawMessageStreamEvent
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from openai.types import CompletionCreateParams, EmbeddingCreateParams
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params
from pydantic import BaseModel, TypeAdapter

from judge import complaints

_closed = {}


def is_json(kind):
    """Not what a caller may give in JSON's place: an SDK's own answers, which allow any member, and files."""
    origin, arguments = typing_extensions.get_origin(kind) or kind, typing_extensions.get_args(kind)
    if origin is typing_extensions.Annotated:
        return is_json(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return any(is_json(one) for one in arguments)
    return not (isinstance(origin, type) and issubclass(origin, (BaseModel, os.PathLike, typing.IO)))


def closed(kind):
    """A type with lists for iterables and dictionaries that allow no other member."""
    if typing_extensions.is_typeddict(kind):
        if kind not in _closed:
            _closed[kind] = made = typing_extensions.TypedDict(kind.__name__, {}, total=kind.__total__)
            hints = typing_extensions.get_type_hints(kind, include_extras=True)
            made.__annotations__ = {name: closed(hint) for name, hint in hints.items()}
            made.__required_keys__ = kind.__required_keys__
            made.__optional_keys__ = kind.__optional_keys__
            made.__pydantic_config__ = {"extra": "forbid"}
        return _closed[kind]
    origin, arguments = typing_extensions.get_origin(kind), typing_extensions.get_args(kind)
    if isinstance(kind, typing_extensions.TypeAliasType):
        return closed(kind.__value__)
    if origin is None:
        return kind
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(closed(one) for one in arguments if is_json(one))]
    if origin in (typing_extensions.Required, typing_extensions.NotRequired, typing_extensions.ReadOnly):
        return origin[closed(arguments[0])]
    if origin is typing_extensions.Annotated:
        return closed(arguments[0])
    if origin in (list, collections.abc.Iterable, collections.abc.Sequence) or origin.__name__ == "SequenceNotStr":
        return typing.List[closed(arguments[0])]
    if origin is dict:
        return typing.Dict[arguments[0], closed(arguments[1])]
    return kind


def adapter(kind):
    return TypeAdapter(closed(kind))


class Typed:
    """Requests by path and whether they stream; answers by path."""

    def __init__(self, requests, answers, event):
        self.requests = {path: [adapter(kind) for kind in kinds] for path, kinds in requests.items()}
        self.answers = answers
        self.event = TypeAdapter(event)

    def of_path(self, table, path):
        path = path.split("?")[0]
        for end, found in table.items():
            if path.endswith(end):
                return found
        return None

    def request(self, path, body):
        kinds = self.of_path(self.requests, path)
        if kinds is None:
            return [f"no such path: {path}"]
        kind = kinds[-1] if body.get("stream") else kinds[0]
        return complaints.of(lambda: kind.validate_python(body, strict=True) and None)

    def answer(self, path, body):
        model = self.of_path(self.answers, path)
        return complaints.of(lambda: complaints.unknown(model.model_validate(body, strict=True)))

    def events(self, path, wire):
        def each():
            for data in complaints.sse(wire):
                if data != "[DONE]" and "error" not in (read := json.loads(data)) and read.get("type") != "ping":
                    yield from complaints.unknown(self.event.validate_json(data, strict=True))

        return complaints.of(each)


class OpenAi(Typed):
    """Chat Completions. Its own SDK sends an answer back as it came, with members that the types of requests lack."""

    ECHOED = ("annotations", "parsed")

    def request(self, path, body):
        messages = [
            {k: v for k, v in m.items() if v is not None and k not in self.ECHOED} if m["role"] == "assistant" else m
            for m in body.get("messages", [])
        ]
        return super().request(path, body | {"messages": messages} if messages else body)

    def answer(self, path, body):
        # Base64 is decoded by the SDK before its model is made.
        as_text = any(isinstance(one.get("embedding"), str) for one in body.get("data", []))
        return [] if as_text else super().answer(path, body)


class Azure(OpenAi):
    """The same, at one of Azure's two kinds of paths; in the older one the model is the path's."""

    DEPLOYMENT = re.compile(r"(?:/openai)?/deployments/[\w.~%-]+/(?:[\w/]+)\?api-version=[\w-]+")

    def request(self, path, body):
        if self.DEPLOYMENT.fullmatch(path):
            body = {"model": "in the path"} | body
        elif not path.startswith("/openai/v1/"):
            return [f"neither of Azure's paths: {path}"]
        return super().request(path, body)


_OPENAI = (
    {
        "/chat/completions": [
            completion_create_params.CompletionCreateParamsNonStreaming,
            completion_create_params.CompletionCreateParamsStreaming,
        ],
        "/completions": [CompletionCreateParams],
        "/embeddings": [EmbeddingCreateParams],
        "/responses": [
            response_create_params.ResponseCreateParamsNonStreaming,
            response_create_params.ResponseCreateParamsStreaming,
        ],
    },
    {
        "/chat/completions": openai.types.chat.ChatCompletion,
        "/completions": openai.types.Completion,
        "/embeddings": openai.types.CreateEmbeddingResponse,
    },
    openai.types.chat.ChatCompletionChunk,
)
OPENAI, AZURE = OpenAi(*_OPENAI), Azure(*_OPENAI)


class Anthropic(Typed):
    """What the API's version 2023-06-01 takes besides, and these types of a later version left out."""

    OLDER = ("temperature", "top_p", "top_k")

    def request(self, path, body):
        return super().request(path, {k: v for k, v in body.items() if k not in self.OLDER})


ANTHROPIC = Anthropic(
    {
        "/messages/count_tokens": [MessageCountTokensParams],
        "/messages": [MessageCreateParamsNonStreaming, MessageCreateParamsStreaming],
    },
    {
        "/messages/count_tokens": anthropic.types.MessageTokensCount,
        "/messages": anthropic.types.Message,
    },
    RawMessageStreamEvent,
)

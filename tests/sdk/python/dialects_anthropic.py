"""Anthropic's SDK in front of every provider: the same scenario."""

import os

import anthropic

from every import on_every_provider
from scripted.turns import ARGUMENTS, CACHED, COMPLETION, COUNTED, DONE, HELLO, PROMPT, RESULTS, THOUGHT

ROOT = os.environ["BASE_URL"].removesuffix("/v1")
client = anthropic.Anthropic(base_url=ROOT, api_key=os.environ["API_KEY"], max_retries=0, timeout=600)
TOOLS = [
    {
        "name": "get_weather",
        "description": "Weather by city",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
    {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
]
BASE = {"max_tokens": 9000, "system": [{"type": "text", "text": "Be terse."}]}


def equal(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def says(text):
    return [{"role": "user", "content": text}]


def messaged(stream, **options):
    """A message, accumulated by the SDK if it is streamed."""
    if not stream:
        return client.messages.create(**BASE, **options)
    with client.messages.stream(**BASE, **options) as events:
        return events.get_final_message()


def counts(usage):
    equal((usage.input_tokens, usage.output_tokens), (PROMPT - CACHED, COMPLETION))
    equal(usage.cache_read_input_tokens, CACHED)


def messages(name, wire):
    for stream in (False, True):
        answer = messaged(stream, model=name, messages=says("hello"))
        equal([(block.type, block.text) for block in answer.content], [("text", HELLO)])
        equal((answer.type, answer.role, answer.stop_reason), ("message", "assistant", "end_turn"))
        counts(answer.usage)


def pieces(name, wire):
    with client.messages.stream(**BASE, model=name, messages=says("hello")) as stream:
        texts = list(stream.text_stream)
    assert len(texts) > 1, "the stream came in one piece"
    equal("".join(texts), HELLO)


def tools(name, wire):
    for stream in (False, True):
        options = {"model": name, "tools": TOOLS, "thinking": {"type": "enabled", "budget_tokens": 1024}}
        given = says("weather")
        answer = messaged(stream, messages=given, **options)
        equal(answer.stop_reason, "tool_use")
        calls = [block for block in answer.content if block.type == "tool_use"]
        equal([(call.name, call.input) for call in calls], [("get_weather", ARGUMENTS), ("get_time", {})])
        texts = [block.text for block in answer.content if block.type == "text"]
        equal("".join(texts), "Checking." if wire.talks_before_calls else "")
        if wire.thinks:
            equal("".join(block.thinking for block in answer.content if block.type == "thinking"), THOUGHT)
        counts(answer.usage)
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": RESULTS[call.name]} for call in calls]
        given += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
        answer = messaged(stream, messages=given, **options)
        equal("".join(block.text for block in answer.content if block.type == "text"), DONE)


def counted(name, wire):
    if name == "anthropic":
        equal(client.messages.count_tokens(model=name, messages=says("hello")).input_tokens, COUNTED)


def raises(kind, call, **members):
    try:
        call()
    except anthropic.APIError as error:
        assert type(error) is kind, f"{type(error).__name__} is not {kind.__name__}: {error}"
        for member, value in members.items():
            equal((member, getattr(error, member)), (member, value))
        equal((error.body["type"], set(error.body["error"]) >= {"type", "message"}), ("error", True))
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def errors(name, wire):
    ask = lambda text: lambda: client.messages.create(**BASE, model=name, messages=says(text))
    raises(anthropic.BadRequestError, ask("fail:400"), status_code=400, type="invalid_request_error")
    error = raises(anthropic.RateLimitError, ask("fail:429"), status_code=429, type="rate_limit_error")
    assert 0 < float(error.response.headers["retry-after"]) <= 2, error.response.headers
    raises(anthropic.NotFoundError, ask("fail:404"), status_code=404, type="not_found_error")
    raises(anthropic.InternalServerError, ask("fail:500"))


def broken(name, wire):
    got = []

    def read():
        with client.messages.stream(**BASE, model=name, messages=says("break")) as stream:
            got.extend(stream.text_stream)

    try:
        read()
    except anthropic.APIStatusError as error:
        equal(error.body["type"], "error")
    else:
        raise AssertionError("the break was taken for an end")
    equal("".join(got), HELLO[:5])


def listed(name, wire):
    assert name in [model.id for model in client.models.list()], "the model is not listed"


on_every_provider(messages, pieces, tools, counted, errors, broken, listed)

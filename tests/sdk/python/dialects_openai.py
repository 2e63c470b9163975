"""OpenAI's SDK in front of every provider: one scenario, told by the client that we did not write."""

import json
import os

import openai
import pydantic
from openai.lib.streaming.chat import ChatCompletionStreamState

from every import on_every_provider
from scripted.turns import ARGUMENTS, CACHED, COMPLETION, DONE, HELLO, PROMPT, REASONED, RESULTS, STRUCTURED, THOUGHT, VECTOR

client = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0, timeout=600)
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
TOOLS = [
    {"name": "get_weather", "description": "Weather by city", "parameters": PARAMETERS},
    {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
]
CHAT_TOOLS = [{"type": "function", "function": tool} for tool in TOOLS]
SYSTEM = {"role": "system", "content": "Be terse."}


def equal(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def says(text):
    return [SYSTEM, {"role": "user", "content": text}]


def counts(usage, wire):
    equal((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (PROMPT, COMPLETION, PROMPT + COMPLETION))
    equal(usage.prompt_tokens_details.cached_tokens, CACHED)
    if wire.counts_thoughts:
        equal(usage.completion_tokens_details.reasoning_tokens, REASONED)


def completed(stream, **options):
    """A chat's completion, accumulated by the SDK if it is streamed."""
    if not stream:
        return client.chat.completions.create(**options)
    state = ChatCompletionStreamState()
    ids, usages = set(), 0
    for chunk in client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}):
        state.handle_chunk(chunk)
        # Azure's first chunk, which passes as it came, has no id.
        ids |= {chunk.id} - {""}
        usages += chunk.usage is not None
    equal((len(ids), usages), (1, 1))
    return state.get_final_completion()


def chat(name, wire):
    for stream in (False, True):
        answer = completed(stream, model=name, messages=says("hello"), max_completion_tokens=500)
        (choice,) = answer.choices
        equal((choice.message.role, choice.message.content, choice.finish_reason), ("assistant", HELLO, "stop"))
        counts(answer.usage, wire)


def without_usage(name, wire):
    chunks = list(client.chat.completions.create(model=name, messages=says("hello"), stream=True))
    assert all(chunk.usage is None for chunk in chunks), "usage came without being asked for"
    equal("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), HELLO)


def sent_back(message):
    """An accumulated message without what the accumulator puts into it for its own use."""
    said = message.to_dict(exclude_none=True)
    said.pop("parsed", None)
    for call in said["tool_calls"]:
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    return said


def tools(name, wire):
    for stream in (False, True):
        options = {"model": name, "tools": CHAT_TOOLS, "reasoning_effort": "low", "max_completion_tokens": 9000}
        messages = says("weather")
        answer = completed(stream, messages=messages, **options)
        (choice,) = answer.choices
        message = choice.message
        equal(choice.finish_reason, "tool_calls")
        equal(message.content or "", "Checking." if wire.talks_before_calls else "")
        if wire.thinks:
            equal(message.reasoning_content, THOUGHT)
        calls = [(call.type, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls]
        equal(calls, [("function", "get_weather", ARGUMENTS), ("function", "get_time", {})])
        assert len({call.id for call in message.tool_calls}) == 2, message.tool_calls
        counts(answer.usage, wire)
        messages.append(sent_back(message) if stream else message)
        for call in message.tool_calls:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": RESULTS[call.function.name]})
        equal(completed(stream, messages=messages, **options).choices[0].message.content, DONE)


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


def schema(name, wire):
    answer = client.chat.completions.parse(model=name, messages=says("structured"), response_format=Weather)
    equal(answer.choices[0].message.parsed, Weather(**STRUCTURED))


def embeddings(name, wire):
    if name == "anthropic":
        return raises(openai.BadRequestError, lambda: client.embeddings.create(model=name, input="a"))
    answer = client.embeddings.create(model=f"embed-{name}", input="embed me")
    equal(answer.data[0].embedding, VECTOR)
    if name != "gemini":
        equal(answer.usage.prompt_tokens, 3)
    if name != "bedrock":
        answer = client.embeddings.create(model=f"embed-{name}", input=["a", "b"], encoding_format="float")
        equal([(one.index, one.embedding) for one in answer.data], [(0, VECTOR), (1, VECTOR)])


def completions(name, wire):
    answer = client.completions.create(model=name, prompt="hello", max_tokens=50)
    equal((answer.object, answer.choices[0].text, answer.choices[0].finish_reason), ("text_completion", HELLO, "stop"))
    equal(answer.usage.total_tokens, PROMPT + COMPLETION)
    pieces = list(client.completions.create(model=name, prompt="hello", max_tokens=50, stream=True))
    equal("".join(piece.choices[0].text for piece in pieces if piece.choices), HELLO)


def raises(kind, call, **members):
    try:
        call()
    except openai.APIError as error:
        assert type(error) is kind, f"{type(error).__name__} is not {kind.__name__}: {error}"
        for member, value in members.items():
            equal((member, getattr(error, member)), (member, value))
        equal(set(error.body), {"message", "type", "param", "code"})
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def errors(name, wire):
    ask = lambda text: lambda: client.chat.completions.create(model=name, messages=says(text))
    raises(openai.BadRequestError, ask("fail:400"), status_code=400, type="invalid_request_error")
    error = raises(openai.RateLimitError, ask("fail:429"), status_code=429, type="rate_limit_error")
    assert 0 < float(error.response.headers["retry-after"]) <= 2, error.response.headers
    raises(openai.NotFoundError, ask("fail:404"), status_code=404)
    error = raises(openai.InternalServerError, ask("fail:500"))
    assert error.request_id, "no x-request-id"
    raises(openai.RateLimitError, lambda: client.responses.create(model=name, input="fail:429", stream=True))


def retries(name, wire):
    """The SDK comes again where that helps, and not where it does not. A pass and a translation are enough."""
    if name not in ("openai", "bedrock"):
        return
    patient = client.with_options(max_retries=2)
    ask = lambda text: patient.chat.completions.with_raw_response.create(model=name, messages=says(text))
    for status in (429, 503):
        answer = ask(f"once:{status} please")
        equal((answer.retries_taken, answer.parse().choices[0].message.content), (1, HELLO))
    raises(openai.BadRequestError, lambda: ask("once:400 please"))


def broken(name, wire):
    def read():
        for chunk in client.chat.completions.create(model=name, messages=says("break"), stream=True):
            got.extend(c.delta.content or "" for c in chunk.choices)

    got = []
    raises(openai.APIError, read)
    equal("".join(got), HELLO[:5])


def responded(stream, **options):
    if not stream:
        return client.responses.create(**options)
    with client.responses.stream(**options) as stream:
        numbers = [event.sequence_number for event in stream]
        equal(numbers, list(range(len(numbers))))
        return stream.get_final_response()


def responses(name, wire):
    for stream in (False, True):
        answer = responded(stream, model=name, instructions="Be terse.", input="hello")
        equal((answer.status, answer.output_text), ("completed", HELLO))
        usage = answer.usage
        equal((usage.input_tokens, usage.output_tokens), (PROMPT, COMPLETION))
        equal(usage.input_tokens_details.cached_tokens, CACHED)


def responses_tools(name, wire):
    for stream in (False, True):
        given = [{"role": "user", "content": "weather"}]
        options = {
            "model": name,
            "tools": [{"type": "function", "strict": False, **tool} for tool in TOOLS],
            "reasoning": {"effort": "low", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "max_output_tokens": 9000,
            "store": False,
        }
        answer = responded(stream, input=given, **options)
        calls = [item for item in answer.output if item.type == "function_call"]
        equal([(call.name, json.loads(call.arguments)) for call in calls], [("get_weather", ARGUMENTS), ("get_time", {})])
        equal(answer.output_text, "Checking." if wire.talks_before_calls else "")
        if wire.thinks:
            told = [text.text for item in answer.output if item.type == "reasoning" for text in item.summary]
            equal("".join(told), THOUGHT)
        given += [item.to_dict(exclude_none=True) for item in answer.output]
        for call in calls:
            given.append({"type": "function_call_output", "call_id": call.call_id, "output": RESULTS[call.name]})
        equal(responded(stream, input=given, **options).output_text, DONE)


def responses_schema(name, wire):
    answer = client.responses.parse(model=name, input="structured", text_format=Weather)
    equal(answer.output_parsed, Weather(**STRUCTURED))


def responses_broken(name, wire):
    got, last = "", None
    try:
        for event in client.responses.create(model=name, input="break", stream=True):
            got += event.delta if event.type == "response.output_text.delta" else ""
            last = event.type
    except openai.APIError:
        last = "error"
    equal((got, last in ("response.failed", "error")), (HELLO[:5], True))


on_every_provider(
    chat,
    without_usage,
    tools,
    schema,
    embeddings,
    completions,
    errors,
    retries,
    broken,
    responses,
    responses_tools,
    responses_schema,
    responses_broken,
)

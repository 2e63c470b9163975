"""What the official SDKs make of failover: of streams that another provider goes on with, of those that nobody could,
of comments while they wait, and of a deadline."""

import os

import anthropic
import openai

from session import client as opened

ROOT = os.environ["BASE_URL"].removesuffix("/v1")
messages = anthropic.Anthropic(base_url=ROOT, api_key=os.environ["API_KEY"], max_retries=0, timeout=60)
HELLO = [{"role": "user", "content": "hello"}]
WHOLE = "one two three"


def chat(model):
    """The text, the ids and the finishes of a stream."""
    texts, ids, finishes = [], set(), []
    for chunk in opened.chat.completions.create(model=model, messages=HELLO, stream=True):
        ids.add(chunk.id)
        for choice in chunk.choices:
            texts.append(choice.delta.content or "")
            finishes += [choice.finish_reason] if choice.finish_reason else []
    return "".join(texts), len(ids), finishes


def message(model):
    with messages.messages.stream(model=model, max_tokens=50, messages=HELLO) as stream:
        final = stream.get_final_message()
    return "".join(block.text for block in final.content), final.stop_reason


for model in ("continued", "waiting"):
    assert chat(model) == (WHOLE, 1, ["stop"]), (model, chat(model))
    assert message(model) == (WHOLE, "end_turn"), (model, message(model))

for model, began in (("told", "one "), ("early", "")):
    got = []
    try:
        for chunk in opened.chat.completions.create(model=model, messages=HELLO, stream=True):
            got += [choice.delta.content or "" for choice in chunk.choices]
    except openai.APIError as error:
        assert error.body["type"] == "api_error", error.body
    else:
        raise AssertionError(f"{model}: half an answer was taken for a whole one")
    assert "".join(got) == began, (model, got)
    got = []
    try:
        with messages.messages.stream(model=model, max_tokens=50, messages=HELLO) as stream:
            got.extend(stream.text_stream)
    except anthropic.APIStatusError as error:
        assert error.body["type"] == "error", error.body
    else:
        raise AssertionError(f"{model}: half a message was taken for a whole one")
    assert "".join(got) == began, (model, got)

for stream in (False, True):
    try:
        opened.chat.completions.create(model="late", messages=HELLO, stream=stream)
    except openai.InternalServerError as error:
        assert (error.status_code, error.code) == (504, "timeout"), error
        assert "waiting for an answer to begin" in error.message, error.message
    else:
        raise AssertionError("there was an answer")
try:
    opened.with_options(default_headers={"x-tollgate-deadline-ms": "50"}).chat.completions.create(
        model="patient", messages=HELLO
    )
except openai.InternalServerError as error:
    assert "within the deadline of 50 ms" in error.message, error.message
else:
    raise AssertionError("there was an answer")

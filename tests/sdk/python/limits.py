"""What the official SDKs make of limits and budgets: the class, the code, when to come again, and whether to.

The SDKs may try again here as they do by default, for that is what is under test: the models whose limits never let a
request in must be asked for once."""

import os

import anthropic
import openai

ROOT = os.environ["BASE_URL"].removesuffix("/v1")
opened = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], timeout=60)
messages = anthropic.Anthropic(base_url=ROOT, api_key=os.environ["API_KEY"], timeout=60)
HELLO = [{"role": "user", "content": "hello"}]


def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def chat(model, sdk=opened, **more):
    return sdk.chat.completions.create(model=model, messages=HELLO, max_tokens=50, **more)


def message(model, sdk=messages):
    return sdk.messages.create(model=model, messages=HELLO, max_tokens=50)


for stream in (False, True):
    spent = raised(openai.APIStatusError, lambda: chat("spent", stream=stream))
    assert (spent.status_code, spent.code, spent.type) == (402, "budget_exceeded", "insufficient_quota"), spent
    assert set(spent.body) == {"message", "type", "param", "code"}, spent.body
spent = raised(anthropic.APIStatusError, lambda: message("spent"))
assert spent.status_code == 402 and spent.body["error"]["type"] == "billing_error", spent.body

never = raised(openai.RateLimitError, lambda: chat("never"))
assert never.code == "rate_limit_exceeded" and "retry-after" not in never.response.headers, never
raised(anthropic.RateLimitError, lambda: message("never"))

# An hour is longer than anybody waits by itself: the SDK is told not to.
now = opened.with_options(max_retries=0)
assert chat("once", now).choices[0].message.content == "ok"
later = raised(openai.RateLimitError, lambda: chat("once", now))
assert 3000 < int(later.response.headers["retry-after"]) <= 3700, later.response.headers
assert later.response.headers["x-ratelimit-remaining-requests"] == "0"
later = raised(anthropic.RateLimitError, lambda: message("once", messages.with_options(max_retries=0)))
assert int(later.response.headers["retry-after"]) > 3000

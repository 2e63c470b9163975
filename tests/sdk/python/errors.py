"""Each refusal becomes the exception that the SDK has for it."""

import os

import openai

from session import ask, client, narrow


def raises(kind, call, **members):
    try:
        call()
    except kind as error:
        assert type(error) is kind, repr(error)
        assert error.request_id, "no x-request-id"
        for name, value in members.items():
            assert getattr(error, name) == value, (name, getattr(error, name), value)
        assert set(error.body) == {"message", "type", "param", "code"}, error.body
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


HELLO = [{"role": "user", "content": "hello"}]
stranger = client.with_options(api_key="tg-nobody")
raises(openai.AuthenticationError, lambda: stranger.models.list(), code="invalid_api_key")
raises(
    openai.PermissionDeniedError,
    lambda: narrow.chat.completions.create(model="chat", messages=HELLO),
    code="model_not_allowed",
)
raises(
    openai.NotFoundError,
    lambda: client.chat.completions.create(model="no-such-model", messages=HELLO),
    code="model_not_found",
)
raises(openai.NotFoundError, lambda: client.files.list(), code="unknown_url")
raises(openai.BadRequestError, lambda: client.chat.completions.create(model="chat", messages="hello"))
raises(openai.BadRequestError, lambda: ask("too long"), code="context_length_exceeded")
raises(openai.BadRequestError, lambda: ask("too long", stream=True), code="context_length_exceeded")
raises(openai.RateLimitError, lambda: ask("please wait"))
raises(openai.InternalServerError, lambda: ask("break"), status_code=502)
assert os.environ["API_KEY"] not in repr(vars(client.models.with_raw_response.list().http_response.headers))

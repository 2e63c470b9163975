"""The list of models is the key's own."""

import openai

from session import client, narrow

assert sorted(model.id for model in client.models.list()) == ["chat", "embed"]
assert [model.id for model in narrow.models.list()] == ["embed"]
assert client.models.retrieve("chat").object == "model"
try:
    narrow.models.retrieve("chat")
except openai.NotFoundError as error:
    assert error.code == "model_not_found", error
else:
    raise AssertionError("a model was shown that the key may not use")

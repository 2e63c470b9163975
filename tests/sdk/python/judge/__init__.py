"""The providers' own types as judges of what tollgate writes, and of what the scripted provider answers.

Each function returns the complaints about a body: an empty list is a pass. Members that a type does not know are
complaints too, since the real providers refuse them with 400. Paths stand below the provider's base URL.
"""

import importlib
import threading

# Loaded when first asked for: each is a whole SDK.
_JUDGES = {
    "openai": ("judge.typed", "OPENAI"),
    "azure": ("judge.typed", "AZURE"),
    "anthropic": ("judge.typed", "ANTHROPIC"),
    "gemini": ("judge.google", "GEMINI"),
    "vertex": ("judge.google", "VERTEX"),
    "bedrock": ("judge.aws", "BEDROCK"),
    "cohere": ("judge.cohere", "COHERE"),
}
DIALECTS = tuple(_JUDGES)
_loading = threading.Lock()


def _of(dialect):
    module, name = _JUDGES[dialect]
    with _loading:
        return getattr(importlib.import_module(module), name)


def load():
    """Loads all of them, so that no request waits for it."""
    for dialect in DIALECTS:
        _of(dialect)


def request(dialect, path, body):
    """What is wrong with a request to this path of a provider."""
    return _of(dialect).request(path, body)


def answer(dialect, path, body):
    """What is wrong with a whole answer of a provider."""
    return _of(dialect).answer(path, body)


def events(dialect, path, wire):
    """What is wrong with a provider's stream, given as the bytes of all of it."""
    return _of(dialect).events(path, wire)


def unknown(model):
    """Members of a pydantic model that it keeps without knowing them."""
    from judge import complaints

    return list(complaints.unknown(model))

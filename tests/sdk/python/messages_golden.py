"""Judges the golden files of the Messages face by Anthropic's own SDK, for `golden.py`.

Every request must be one that the SDK's types know, every answer and every event must be valid for its models, and
the SDK's client must make the same message of a stream as of the whole answer.
"""

import json

import anthropic
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

import judge

# What was left out of an answer, which Anthropic's form has no place for.
EXTENSION = "tollgate_omitted"
ASK = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}


def failures(root, messages, replay):
    """What is wrong with the files of a directory."""
    for check in (requests, answers, streams, errors, counted):
        yield from check(root, messages, replay)


def requests(root, *_):
    for path in sorted(root.glob("*.client.json")):
        body = json.loads(path.read_text())
        yield from (f"{path.name}: {c}" for c in judge.request("anthropic", "/messages", body))


def answers(root, messages, replay):
    for path in sorted(root.glob("*.answer.json")):
        body = json.loads(path.read_text())
        Message.model_validate(body, strict=True)
        replay.says(path.read_bytes())
        read = messages.create(**ASK)
        if read.to_dict() != body:
            yield f"{path.name}: read as {read}"
        yield from (f"{path.name}{c}" for c in judge.unknown(read) if EXTENSION not in c)


def streams(root, messages, replay):
    event = TypeAdapter(RawMessageStreamEvent)
    for path in sorted(root.glob("*.stream.sse")):
        name = path.name.removesuffix(".stream.sse")
        for line in path.read_text().splitlines():
            if line.startswith("data: ") and '"type":"error"' not in line and '"type":"ping"' not in line:
                event.validate_json(line.removeprefix("data: "), strict=True)
        replay.says(path.read_bytes(), "text/event-stream")
        if name == "failed":
            yield from failed(messages, path.name)
            continue
        with messages.stream(**ASK) as stream:
            read = stream.get_final_message()
        whole = root / f"{name}.answer.json"
        if whole.exists() and plain(read) != plain(Message.model_validate_json(whole.read_text())):
            yield f"{path.name}: another message than {whole.name}: {read}"


def plain(message):
    """Without what the stream's accumulator leaves unset or adds."""
    read = message.to_dict(exclude_none=True)
    read.pop(EXTENSION, None)
    for block in read["content"]:
        block.pop("parsed_output", None)
    return read


def failed(messages, name):
    try:
        with messages.stream(**ASK) as stream:
            stream.get_final_message()
    except anthropic.APIStatusError as error:
        if error.body["error"]["type"] != "overloaded_error":
            yield f"{name}: {error}"
    else:
        yield f"{name}: no error was raised"


def errors(_, messages, replay):
    kinds = {
        400: ("invalid_request_error", anthropic.BadRequestError),
        401: ("authentication_error", anthropic.AuthenticationError),
        403: ("permission_error", anthropic.PermissionDeniedError),
        404: ("not_found_error", anthropic.NotFoundError),
        409: ("conflict_error", anthropic.ConflictError),
        413: ("request_too_large", anthropic.APIStatusError),
        429: ("rate_limit_error", anthropic.RateLimitError),
        500: ("api_error", anthropic.InternalServerError),
        502: ("api_error", anthropic.InternalServerError),
        504: ("timeout_error", anthropic.InternalServerError),
        529: ("overloaded_error", anthropic.InternalServerError),
    }
    for status, (kind, wanted) in kinds.items():
        body = {"type": "error", "error": {"type": kind, "message": "Why."}}
        replay.says(json.dumps(body).encode(), status=status)
        try:
            messages.create(**ASK)
        except wanted as error:
            if (error.status_code, error.type) != (status, kind):
                yield f"error {status}: {error.status_code} {error.type}"
        else:
            yield f"error {status}: none was raised"


def counted(_, messages, replay):
    replay.says(b'{"input_tokens":2095}')
    if messages.count_tokens(model="m", messages=ASK["messages"]).input_tokens != 2095:
        yield "count_tokens: another count"

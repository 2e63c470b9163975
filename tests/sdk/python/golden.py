"""Judges the golden files: requests by the providers' official types, answers and streams by the clients' SDKs.

usage: golden.py DIRECTORY
"""

import json
import pathlib
import sys

import anthropic
import openai
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

import judge
import messages_golden
from judge import complaints
from replay import Replay

# Golden requests that hold a body only: where it would be sent.
PATHS = {"anthropic": "/messages", "cohere": "/v2/chat", "openai_chat": "/chat/completions"}
# Complaints that are right about the file and no fault: a case for each, and why.
EXCUSED = {
    "choices.client.sse: choices.0.logprobs": "what a provider says of probabilities goes on as it came",
    "openai_chat/strays": "members that no type knows go on in their places",
    "openrouter_cost.reply.json": "what a provider tells besides goes on to clients of its own format",
    "perplexity.client.sse": "the same",
    "azure.client.sse": "the same",
    "signed.reply.json.choices[0].message.reasoning_details": "the same",
    "tolerant.reply.json.usage.prompt_cache_hit_tokens": "the same",
    "thinking.client.sse.x_groq": "the same",
    "model_traversal": "no model has such an id; the case is that it stays one segment of the path",
    "openai_chat/everything": "an unknown field of the client's goes on as it came",
    "requests/vendor_fields": "the same",
    "requests/embeddings_input_type": "the same",
    "requests/effort_unknown": "the same for a word that may be newer than the types",
    "requests/cache_marks_passed": "marks that the provider's options ask for",
    "requests/thoughts_signed_opted": "thoughts where the provider's options ask for them",
    "requests/messages_own_fields": "members that Anthropic takes in beta only, from clients that say so",
}
# What OpenAI's own answers have and its SDK's models lack, and what others have established besides.
ADDED = {"store", "annotations", "bytes"} | {
    "reasoning_content",
    "thinking_blocks",
    "extra_content",
    "images",
    "native_finish_reason",
}
ASK = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def provider_requests(root):
    """Every request that a golden file holds: file, dialect, path, body."""
    for path in sorted(root.rglob("*.provider.json")):
        folder = path.relative_to(root).parts[0]
        golden = json.loads(path.read_text())
        options = path.with_name(path.name.replace(".provider.", ".options."))
        given = json.loads(options.read_text()) if options.exists() else {}
        dialect = {"openai_chat": "azure" if "api_version" in given else "openai"}.get(folder, folder)
        # Other options make it a request to a provider that is only compatible, whose own form has no types here.
        if "reason" not in golden and (dialect != "openai" or not given):
            yield path, dialect, golden.get("path", PATHS.get(folder)), golden.get("body", golden)
    for path in sorted(root.glob("requests/*/*.json")):
        golden = json.loads(path.read_text())
        if path.stem in judge.DIALECTS and "body" in golden:
            yield path, path.stem, golden["path"], golden["body"]


def requests(root):
    judged = {}
    for path, dialect, where, body in provider_requests(root):
        name = str(path.relative_to(root))
        dialect = "vertex" if dialect == "gemini" and "/projects/" in where else dialect
        where = where if dialect != "azure" or "/deployments/" in where else f"/openai/v1{where}"
        found = judge.request(dialect, where, body)
        judged[dialect] = judged.get(dialect, 0) + 1
        yield from (f"{name}: {complaint}" for complaint in found)
    print("requests judged:", judged)
    if len(judged) < 7:
        yield f"dialects without a golden request: {set(judge.DIALECTS) - set(judged)}"


def valid(model, body):
    return complaints.of(lambda: model.model_validate(body, strict=True) and None)


def unknown(model):
    return [c for c in judge.unknown(model) if c.removesuffix(": unknown member").split(".")[-1] not in ADDED]


def chat_answers(root, client, replay):
    """The SDK's model must know all of a completion, and give it back as it was."""
    for path in sorted([*root.glob("openai_chat/*.reply.json"), *root.glob("openai_chat/*.legacy.json")]):
        body = json.loads(path.read_text())
        yield from (f"{path.name}: {c}" for c in valid(ChatCompletion, body))
        replay.says(path.read_bytes())
        read = client.chat.completions.create(**ASK)
        if read.to_dict() != body:
            yield f"{path.name}: read as {read}"
        yield from (f"{path.name}{c}" for c in unknown(read))


def chat_streams(root, client, replay):
    """Each chunk must be one for the SDK's model. A stream ends with [DONE] or raises, never both, never neither."""
    for path in sorted([*root.glob("openai_chat/*.client.sse"), *root.glob("openai_chat/*.legacy.sse")]):
        wire = path.read_bytes()
        replay.says(wire, "text/event-stream")
        state, failed = ChatCompletionStreamState(), False
        try:
            for chunk in client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}):
                yield from (f"{path.name}: {c}" for c in valid(ChatCompletionChunk, chunk.to_dict()))
                yield from (f"{path.name}{c}" for c in unknown(chunk))
                state.handle_chunk(chunk)
        except openai.APIError:
            failed = True
        except (RuntimeError, TypeError) as error:
            yield f"{path.name}: the SDK cannot accumulate it: {error}"
            continue
        if failed == wire.endswith(b"data: [DONE]\n\n"):
            yield f"{path.name}: failed: {failed}, and yet its end says otherwise"
        if not failed and any(c.finish_reason is None for c in state.current_completion_snapshot.choices):
            yield f"{path.name}: a choice without a finish reason"


def responses(root, client, replay):
    for path in sorted(root.glob("responses_face/*.answer.json")):
        body = json.loads(path.read_text())
        replay.says(path.read_bytes())
        read = client.responses.create(model="m", input="Hi")
        if read.to_dict() != body:
            yield f"{path.name}: read as {read}"
        yield from (f"{path.name}: {c}" for c in valid(Response, body))
        yield from (f"{path.name}{c}" for c in unknown(read))


def response_streams(root, client, replay):
    """The accumulator's response is that of the last event, and the last event tells how it ended."""
    for path in sorted(root.glob("responses_face/*.sse")):
        wire = path.read_bytes()
        replay.says(wire, "text/event-stream")
        last = json.loads(wire.decode().rstrip().rsplit("data: ", 1)[1])
        kinds = []
        try:
            with client.responses.stream(model="m", input="Hi") as stream:
                for event in stream:
                    kinds.append(event.type)
                    yield from (f"{path.name}{c}" for c in unknown(event))
        except openai.APIError:
            kinds.append("error")
        if kinds[-1] != last["type"]:
            yield f"{path.name}: ends with {kinds[-1]}, not {last['type']}"


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1])
    replay = Replay()
    failures = list(requests(root))
    client = openai.OpenAI(base_url=f"{replay.url}/v1", api_key="k", max_retries=0)
    for check in (chat_answers, chat_streams, responses, response_streams):
        failures += check(root, client, replay)
    messages = anthropic.Anthropic(base_url=replay.url, api_key="k", max_retries=0).messages
    failures += messages_golden.failures(root / "messages", messages, replay)
    sys.exit("\n".join(failure for failure in failures if not any(case in failure for case in EXCUSED)) or 0)

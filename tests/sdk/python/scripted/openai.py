"""OpenAI's Chat Completions, as OpenAI and Azure serve them."""

import base64
import json
import struct

from scripted.turns import CACHED, COMPLETION, PROMPT, REASONED, VECTOR, Asked

USAGE = {
    "prompt_tokens": PROMPT,
    "completion_tokens": COMPLETION,
    "total_tokens": PROMPT + COMPLETION,
    "prompt_tokens_details": {"cached_tokens": CACHED, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": REASONED, "audio_tokens": 0},
}
KINDS = {400: "invalid_request_error", 429: "rate_limit_error", 404: "invalid_request_error"}
FILTER = {"hate": {"filtered": False, "severity": "safe"}}


def sse(*events):
    return [f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode() for event in events]


class OpenAi:
    thinks, signs, talks_before_calls, counts_thoughts = False, False, True, True
    ids = ("call_0aB", "call_1cD")
    stream_type = "text/event-stream"
    azure = False

    def read(self, path, body):
        messages = body["messages"]
        users = [m["content"] for m in messages if m["role"] == "user"]
        last = users[-1] if isinstance(users[-1], str) else "".join(p["text"] for p in users[-1])
        calls = [c for m in messages if m["role"] == "assistant" for c in m.get("tool_calls") or []]
        form = body.get("response_format") or {}
        return Asked(
            stream=body.get("stream", False),
            text=last,
            tools=[tool["function"]["name"] for tool in body.get("tools", [])],
            results=[(m["tool_call_id"], text(m["content"])) for m in messages if m["role"] == "tool"],
            calls=[(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls],
            signatures=[],
            schema=form.get("json_schema", {}).get("schema"),
            thinks="reasoning_effort" in body,
        )

    def whole(self, path, body, turn):
        if not path.split("?")[0].endswith("/chat/completions"):
            return self.completion(turn)
        message = {"role": "assistant", "content": turn.text or None, "refusal": None, "annotations": []}
        if turn.calls:
            message["tool_calls"] = [self.call(call) for call in turn.calls]
        finish = "tool_calls" if turn.calls else "stop"
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        answer = self.head("chat.completion") | {"choices": [choice], "usage": USAGE}
        if self.azure:
            choice["content_filter_results"] = FILTER
            answer["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": FILTER}]
        return answer

    def completion(self, turn):
        choice = {"index": 0, "text": turn.text, "logprobs": None, "finish_reason": "stop"}
        return self.head("text_completion") | {"choices": [choice], "usage": USAGE}

    def head(self, kind):
        return {"id": "chatcmpl-9", "object": kind, "created": 1763850000, "model": "gpt-upstream"}

    def call(self, call):
        arguments = json.dumps(call.arguments, ensure_ascii=False) if call.arguments else "{}"
        return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}

    def stream(self, path, body, turn):
        asked = (body.get("stream_options") or {}).get("include_usage")
        chat = path.split("?")[0].endswith("/chat/completions")
        head = self.head("chat.completion.chunk" if chat else "text_completion")
        late = {"usage": None} if asked else {}

        def chunk(delta, finish=None):
            part = {"delta": delta} if chat else {"text": delta.get("content", "")}
            return head | {"choices": [{"index": 0, **part, "logprobs": None, "finish_reason": finish}]} | late

        events = []
        if self.azure and chat:
            filtered = [{"prompt_index": 0, "content_filter_results": FILTER}]
            events.append(
                {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": filtered}
            )
        if chat:
            events.append(chunk({"role": "assistant", "content": "", "refusal": None}))
        for piece in turn.pieces():
            events.append(chunk({"content": piece}))
            if turn.breaks:
                return sse(*events, {"error": {"message": "Why.", "type": "server_error", "param": None, "code": None}})
        for at, call in enumerate(turn.calls):
            whole = self.call(call)
            arguments = whole["function"]["arguments"]
            whole["function"] = {"name": call.name, "arguments": ""}
            events.append(chunk({"tool_calls": [{"index": at, **whole}]}))
            for piece in (arguments[:6], arguments[6:]):
                events.append(chunk({"tool_calls": [{"index": at, "function": {"arguments": piece}}]}))
        events.append(chunk({}, "tool_calls" if turn.calls else "stop"))
        if asked:
            events.append(head | {"choices": [], "usage": USAGE})
        return sse(*events, "[DONE]")

    def failure(self, status):
        error = {"message": f"Scripted {status}.", "type": KINDS.get(status, "server_error"), "param": None}
        return {}, {"error": error | {"code": "rate_limit_exceeded" if status == 429 else None}}

    def embeddings(self, path, body):
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        vector = VECTOR
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
        data = [{"object": "embedding", "index": at, "embedding": vector} for at in range(len(texts))]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return {"object": "list", "data": data, "model": body.get("model", "embedder"), "usage": usage}


class Azure(OpenAi):
    azure = True

    def failure(self, status):
        """Type and param are often missing."""
        return {"apim-request-id": "a-1"}, {"error": {"code": str(status), "message": f"Scripted {status}."}}


def text(content):
    return content if isinstance(content, str) else "".join(part["text"] for part in content)

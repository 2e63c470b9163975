"""Anthropic's Messages."""

import json

from scripted.turns import CACHED, COMPLETION, COUNTED, PROMPT, REASONED, Asked

KINDS = {
    400: "invalid_request_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Anthropic:
    thinks, signs, talks_before_calls, counts_thoughts = True, True, True, True
    ids = ("toolu_01Ab", "toolu_01Cd")
    stream_type = "text/event-stream; charset=utf-8"

    def read(self, path, body):
        texts, results, calls, signatures = [], [], [], []
        for message in body["messages"]:
            content = message["content"]
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            for at, block in enumerate(blocks):
                match block["type"]:
                    case "text" if message["role"] == "user":
                        texts.append(block["text"])
                    case "thinking" if at == 0:
                        signatures.append(block["signature"])
                    case "tool_use":
                        calls.append((block["id"], block["name"], block["input"]))
                    case "tool_result":
                        results.append((block["tool_use_id"], said(block["content"])))
        return Asked(
            stream=body.get("stream", False),
            text=texts[-1],
            tools=[tool["name"] for tool in body.get("tools", [])],
            results=results,
            calls=calls,
            signatures=signatures,
            schema=body.get("output_config", {}).get("format", {}).get("schema"),
            thinks=body.get("thinking", {}).get("type") in ("enabled", "adaptive"),
        )

    def blocks(self, turn):
        if turn.thought:
            yield {"type": "thinking", "thinking": turn.thought, "signature": turn.signature}
        if turn.text:
            yield {"type": "text", "text": turn.text, "citations": None}
        for call in turn.calls:
            yield {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}

    def usage(self, output):
        return {
            "input_tokens": PROMPT - CACHED,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": CACHED,
            "output_tokens": output,
        }

    def message(self, content, stop, output):
        head = {"id": "msg_01X", "type": "message", "role": "assistant", "model": "claude-upstream"}
        return head | {"content": content, "stop_reason": stop, "stop_sequence": None, "usage": self.usage(output)}

    def whole(self, path, body, turn):
        if path.endswith("/count_tokens"):
            return {"input_tokens": COUNTED}
        message = self.message(list(self.blocks(turn)), self.stop(turn), COMPLETION)
        message["usage"]["output_tokens_details"] = {"thinking_tokens": REASONED}
        return message

    def stop(self, turn):
        return "tool_use" if turn.calls else "end_turn"

    def deltas(self, block, turn):
        match block["type"]:
            case "thinking":
                half = len(block["thinking"]) // 2
                for piece in (block["thinking"][:half], block["thinking"][half:]):
                    yield {"type": "thinking_delta", "thinking": piece}
                yield {"type": "signature_delta", "signature": block["signature"]}
            case "text":
                for piece in turn.pieces():
                    yield {"type": "text_delta", "text": piece}
            case "tool_use":
                written = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
                for piece in (written[:6], written[6:]):
                    yield {"type": "input_json_delta", "partial_json": piece}

    def stream(self, path, body, turn):
        events = [{"type": "message_start", "message": self.message([], None, 1)}, {"type": "ping"}]
        empty = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}, "tool_use": {"input": {}}}
        for index, block in enumerate(self.blocks(turn)):
            start = block | empty[block["type"]]
            events.append({"type": "content_block_start", "index": index, "content_block": start})
            for delta in self.deltas(block, turn):
                events.append({"type": "content_block_delta", "index": index, "delta": delta})
                if turn.breaks:
                    return self.sse(*events, {"type": "error", "error": {"type": "overloaded_error", "message": "Why."}})
            events.append({"type": "content_block_stop", "index": index})
        usage = {"output_tokens": COMPLETION, "output_tokens_details": {"thinking_tokens": REASONED}}
        delta = {"stop_reason": self.stop(turn), "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": usage})
        return self.sse(*events, {"type": "message_stop"})

    def sse(self, *events):
        return [f"event: {e['type']}\ndata: {json.dumps(e, ensure_ascii=False)}\n\n".encode() for e in events]

    def failure(self, status):
        error = {"type": KINDS.get(status, "api_error"), "message": f"Scripted {status}."}
        return {"request-id": "req_1"}, {"type": "error", "error": error, "request_id": "req_1"}


def said(content):
    return content if isinstance(content, str) else "".join(block["text"] for block in content)

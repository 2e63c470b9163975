"""Judges the golden files of the Messages face by Anthropic's own SDK.

Every request must be one that the SDK's types know, every answer and every event must be valid for its models, and
the SDK's client must make the same message of a stream as of the whole answer.
usage: messages_golden.py DIRECTORY
"""

import json
import pathlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import anthropic
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.message_create_params import MessageCreateParamsBase
from pydantic import TypeAdapter

ROOT = pathlib.Path(sys.argv[1])
ASK = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
answer = {}


class Provider(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(answer["status"])
        self.send_header("content-type", answer["type"])
        self.send_header("content-length", str(len(answer["body"])))
        self.end_headers()
        self.wfile.write(answer["body"])

    def log_message(self, *_):
        pass


def client():
    server = HTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    return anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)


def says(body, kind="application/json", status=200):
    answer.update(body=body, type=kind, status=status)


def checked(name, ok, why=""):
    if not ok:
        sys.exit(f"{name}: {why}")
    print("ok", name)


def requests():
    types = TypeAdapter(MessageCreateParamsBase)
    for path in sorted(ROOT.glob("*.client.json")):
        body = json.loads(path.read_text())
        body.pop("stream", None)
        # What 2023-06-01 takes and this SDK's types leave out.
        body.pop("temperature", None)
        types.validate_python(body)
        checked(path.name, True)


def answers(messages):
    for path in sorted(ROOT.glob("*.answer.json")):
        body = json.loads(path.read_text())
        Message.model_validate(body, strict=True)
        says(path.read_bytes())
        read = messages.create(**ASK)
        checked(path.name, read.to_dict() == body, read)


def streams(messages):
    event = TypeAdapter(RawMessageStreamEvent)
    for path in sorted(ROOT.glob("*.stream.sse")):
        name = path.name.removesuffix(".stream.sse")
        for line in path.read_text().splitlines():
            if line.startswith("data: ") and '"type":"error"' not in line and '"type":"ping"' not in line:
                event.validate_json(line.removeprefix("data: "))
        says(path.read_bytes(), "text/event-stream")
        if name == "failed":
            failed(messages, path.name)
            continue
        with messages.stream(**ASK) as stream:
            read = stream.get_final_message()
        whole = ROOT / f"{name}.answer.json"
        same = not whole.exists() or plain(read) == plain(Message.model_validate_json(whole.read_text()))
        checked(path.name, same, read)


def plain(message):
    """Without what the stream's accumulator leaves unset or adds."""
    read = message.to_dict(exclude_none=True)
    for block in read["content"]:
        block.pop("parsed_output", None)
    return read


def failed(messages, name):
    try:
        with messages.stream(**ASK) as stream:
            stream.get_final_message()
    except anthropic.APIStatusError as error:
        checked(name, error.body["error"]["type"] == "overloaded_error", error)
    else:
        checked(name, False, "no error was raised")


def errors(messages):
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
        says(json.dumps(body).encode(), status=status)
        try:
            messages.create(**ASK)
        except wanted as error:
            checked(f"error {status} {type(error).__name__}", error.status_code == status and error.type == kind)


def counted(messages):
    says(b'{"input_tokens":2095}')
    count = messages.count_tokens(model="m", messages=ASK["messages"])
    checked("count_tokens", count.input_tokens == 2095)


if __name__ == "__main__":
    messages = client().messages
    requests()
    answers(messages)
    streams(messages)
    errors(messages)
    counted(messages)

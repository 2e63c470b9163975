"""One server that is a provider of every dialect, below a path of its own each, and judges all that it receives.

Promises: a request is answered in the true form of its dialect (`scripted`), by what its conversation says
(`scripted.turns`); requests and this server's own answers are judged by the provider's official types (`judge`).
`GET /verdict` tells what was wrong since the last look and forgets it. The port is the first line printed; the server
ends when its standard input does.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import judge
from scripted import PROVIDERS
from scripted.turns import answer

# Where the credential is in each dialect.
CREDENTIALS = {"azure": "api-key", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}
# How the paths of embeddings end.
EMBEDDINGS = ("/embeddings", ":batchEmbedContents", ":embedContent", ":predict", "/invoke", "/v2/embed")
verdict, requests = [], {}
# Who was failed once, and is served the next time.
failed = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        report = {"wrong": verdict.copy(), "requests": requests.copy()}
        verdict.clear()
        requests.clear()
        self.says(200, report)

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["content-length"]))
        # The path's first segment is the last of the base URL that the gateway is given.
        name, _, rest = self.path.removeprefix("/").partition("/")
        dialect, wire = PROVIDERS[name]
        where = f"{name} /{rest}"
        try:
            self.serve(dialect, wire, "/" + rest, json.loads(raw), where)
        except Exception as error:
            verdict.append(f"{where}: {type(error).__name__} {error} in {raw.decode(errors='replace')[:2000]}")
            raise

    def serve(self, dialect, wire, path, body, where):
        requests[where] = requests.get(where, 0) + 1
        self.blame(where, judge.request(dialect, path, body), body)
        self.blame(where, self.head(dialect), body)
        operation = path.split("?")[0]
        if operation.endswith(EMBEDDINGS):
            return self.answer(dialect, path, wire.embeddings(path, body), where)
        if "prompt" in body:
            body = dict(body, messages=[{"role": "user", "content": body["prompt"]}])
        asked = wire.read(path, body)
        word = asked.text.split()[0]
        if word.startswith("fail:"):
            status = int(word.removeprefix("fail:"))
            headers, error = wire.failure(status)
            return self.says(status, error, headers | ({"retry-after": "2"} if status == 429 else {}))
        if word.startswith("once:"):
            if (where, asked.text) not in failed:
                failed.add((where, asked.text))
                return self.says(int(word.removeprefix("once:")), wire.failure(503)[1], {"retry-after": "1"})
            asked.text = "hello"
        turn, wrong = answer(wire, asked)
        self.blame(where, wrong, body)
        if not asked.stream:
            return self.answer(dialect, path, wire.whole(path, body, turn), where)
        pieces = wire.stream(path, body, turn)
        if dialect != "azure" and "prompt" not in body:
            self.blame(where, [f"our own stream: {c}" for c in judge.events(dialect, path, b"".join(pieces))], body)
        self.streams(wire.stream_type, pieces)

    def head(self, dialect):
        name = CREDENTIALS.get(dialect, "authorization")
        wanted = "upstream-secret" if dialect in CREDENTIALS else "Bearer upstream-secret"
        if self.headers.get_all(name) != [wanted]:
            yield f"the header {name} is {self.headers.get_all(name)}"
        if name != "authorization" and "authorization" in self.headers:
            yield "two credentials"
        if dialect == "anthropic" and self.headers.get("anthropic-version") not in ("2023-06-01", "2026-10-21"):
            yield f"the header anthropic-version is {self.headers.get('anthropic-version')}"

    def blame(self, where, complaints, body):
        told = json.dumps(body, ensure_ascii=False)
        verdict.extend(f"{where}: {complaint} in {told[:2000]}" for complaint in complaints)

    def answer(self, dialect, path, answer, where):
        if dialect != "azure":
            self.blame(where, [f"our own answer: {c}" for c in judge.answer(dialect, path, answer)], answer)
        self.says(200, answer)

    def says(self, status, body, headers=()):
        whole = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(whole)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(whole)

    def streams(self, kind, pieces):
        """In chunks that end inside of events, characters and frames."""
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        wire = b"".join(pieces)
        for at in range(0, len(wire), 131):
            chunk = wire[at : at + 131]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    judge.load()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()

"""A server that answers every request with the bytes that it was given last."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Replay:
    def __init__(self):
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(answers.status)
                self.send_header("content-type", answers.kind)
                self.send_header("content-length", str(len(answers.body)))
                self.end_headers()
                self.wfile.write(answers.body)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"

    def says(self, body, kind="application/json", status=200):
        self.body, self.kind, self.status = body, kind, status

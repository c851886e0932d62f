"""A provider of large models that is out of order, on loopback: faulty.py PORT MODE. Each mode is a way to fail."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, mode = int(sys.argv[1]), sys.argv[2]
SAYS = {
    "garbage": "<html>502 Bad Gateway</html>",
    "nan": json.dumps({"choices": [{"message": {"content": '{"scores": [{"number": 1, "score": NaN}]}'}}]}),
    "wrong-ids": json.dumps({"choices": [{"message": {"content": '{"scores": [{"number": 999, "score": 10}, {"number": -1, "score": 3}]}'}}]}),
}


class Faulty(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if mode == "silent":
            time.sleep(3600)
        if mode == "slow":
            time.sleep(5)
        status = {"refuses": 500, "busy": 429}.get(mode, 200)
        body = SAYS.get(mode, "{}").encode()
        try:
            self.send_response(status)
            if mode == "busy":
                self.send_header("retry-after", "3600")
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # The caller has gone.

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", port), Faulty)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print("listening", flush=True)
time.sleep(3600)

"""A service small enough to start in a moment; BEHAVIOUR says how it misbehaves."""

import itertools
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEHAVIOUR = os.environ.get("BEHAVIOUR", "")
ASKED = itertools.count(1)
SMOKE_TEST = 3  # requests before the switch
MODEL = os.environ.get("MODEL_DIR")
WEIGHTS = open(f"{MODEL}/weights.txt").read() if MODEL else "baked in"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            time.sleep(2)
        if BEHAVIOUR == "too slow":
            time.sleep(0.8)
        sick = BEHAVIOUR == "never healthy" and self.path == "/healthz"
        counted = BEHAVIOUR == "right at first" and self.path == "/"
        wrong = BEHAVIOUR == "wrong" or (counted and next(ASKED) > SMOKE_TEST)
        word = "wrong" if wrong else "right"
        if BEHAVIOUR == "fails soon" and self.path == "/" and next(ASKED) > 20:
            sick = True
        told = {name: os.environ.get(name, "") for name in ("RELEASE", "MODEL_VERSION", "MODEL_SHA256")}
        body = json.dumps({"answer": word, "weights": WEIGHTS, "release": told["RELEASE"], **told}).encode()
        self.send_response(503 if sick else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


def say_goodbye(*_: object) -> None:
    for number in range(1, 1001):
        print("goodbye", number, flush=True)
    os._exit(0)


def count() -> None:
    for number in itertools.count(1):
        print("count", number, flush=True)
        time.sleep(0.01)


class Server(ThreadingHTTPServer):
    request_queue_size = 256


print("starting", BEHAVIOUR or "well", flush=True)
if BEHAVIOUR == "crashes":
    print("cannot go on: no weights", flush=True)
    sys.exit(3)
if BEHAVIOUR == "slow start":
    time.sleep(2)
if BEHAVIOUR == "crashes later":
    threading.Timer(float(os.environ.get("AFTER", "2")), lambda: os._exit(4)).start()
if BEHAVIOUR == "counts":
    threading.Thread(target=count, daemon=True).start()
if BEHAVIOUR == "says goodbye":
    signal.signal(signal.SIGTERM, say_goodbye)
Server(("", 8000), Handler).serve_forever()

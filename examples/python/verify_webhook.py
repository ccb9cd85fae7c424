"""A receiver of Sluice's webhooks with the standard library alone (or take the package standardwebhooks).

    WEBHOOK_SECRET=whsec_... PORT=4000 python3 examples/python/verify_webhook.py
"""

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["WEBHOOK_SECRET"]
TOLERANCE = 300


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a message is genuine and recent (Standard Webhooks 1.0.0). `body` is the bytes as they came."""
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    try:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        given = headers["webhook-signature"].encode().split(b" ")
        age = abs(time.time() - int(headers["webhook-timestamp"]))
    except (KeyError, TypeError, ValueError, AttributeError):  # a header is missing, or is none
        return False
    expected = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    return any(hmac.compare_digest(expected, one) for one in given) and age <= TOLERANCE


# Ids handled already. A message may come more than once; keep these in your database.
seen: set[str] = set()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        genuine = verify(SECRET, self.headers, body)
        # Answer first, work afterwards: an answer that takes over 15 seconds counts as none.
        self.send_response(204 if genuine else 400)
        self.end_headers()
        message_id = self.headers["webhook-id"]
        if not genuine or message_id in seen:
            return
        seen.add(message_id)
        message = json.loads(body)
        print(f"{message['type']} {message['data']['id']}: {message['data']['status']}", flush=True)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "4000"))), Receiver)
    print("listening on", server.server_address, flush=True)
    server.serve_forever()

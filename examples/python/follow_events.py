"""Submits a streamed chat and shows its text as it comes, over connections that break. Standard library alone.

    python3 examples/python/follow_events.py "Why is the sky blue?"
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from http.client import HTTPException

URL = os.environ.get("SLUICE_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("SLUICE_KEY")
MODEL = os.environ.get("SLUICE_MODEL", "sim/chat-small")
# The server says something every 15 seconds; a connection that is silent for longer is dead.
SILENCE = 45


def request(path: str, body: dict | None = None, headers: dict[str, str] | None = None):
    all_headers = {"content-type": "application/json", **(headers or {})}
    if KEY:
        all_headers["authorization"] = f"Bearer {KEY}"
    data = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(URL + path, data, all_headers), timeout=SILENCE)


def follow(path: str, cursor: str = "") -> Iterator[tuple[str, str, dict]]:
    """Each event once: its id, its type, its data. Keep the id, and another process can go on behind it."""
    while True:
        try:
            with request(path, headers={"last-event-id": cursor} if cursor else {}) as response:
                if response.status == 204:  # nothing comes any more
                    return
                fields: dict[str, str] = {}
                for line in response:
                    name, _, value = line.decode().rstrip("\r\n").partition(":")
                    if name:
                        fields[name] = value.removeprefix(" ")
                    elif "data" in fields:  # a blank line ends an event; one that is cut off never came
                        cursor = fields["id"]
                        yield cursor, fields["event"], json.loads(fields["data"])
                        fields = {}
                    else:
                        fields = {}
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise
        except (OSError, HTTPException):
            pass  # the connection broke; the next one goes on behind the last event
        time.sleep(0.5)


def main() -> None:
    question = sys.argv[1] if len(sys.argv) > 1 else "Why is the sky blue?"
    create = {
        "type": "chat",
        "cache": "off",  # a kept answer comes whole, without a stream
        "body": {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": question}]},
    }
    with request("/v1/jobs", create, {"idempotency-key": str(uuid.uuid4())}) as response:
        job_id = json.load(response)["id"]

    for _, event, data in follow(f"/v1/jobs/{job_id}/events"):
        if event == "job.delta":
            for choice in data["chunk"].get("choices", []):
                print(choice["delta"].get("content") or "", end="", flush=True)
        elif event == "job.retrying":
            print(f"\n(void, and again: {data['reason']})")
        elif "job" in data:
            print(f"\n{event}: {data['job']['usage']}")
            if event != "job.completed":
                sys.exit(1)


if __name__ == "__main__":
    main()

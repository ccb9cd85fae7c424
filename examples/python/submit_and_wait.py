"""Submits a chat and waits for its answer, with the standard library alone.

    python3 examples/python/submit_and_wait.py "Why is the sky blue?"
"""

import json
import os
import sys
import urllib.error
import urllib.request
import uuid

URL = os.environ.get("SLUICE_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("SLUICE_KEY")
MODEL = os.environ.get("SLUICE_MODEL", "sim/chat-small")


def request(path: str, body: dict | None = None, headers: dict[str, str] | None = None) -> dict:
    all_headers = {"content-type": "application/json", **(headers or {})}
    if KEY:
        all_headers["authorization"] = f"Bearer {KEY}"
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(URL + path, data, all_headers)) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code}: {json.load(error)['error']['message']}")


def main() -> None:
    question = sys.argv[1] if len(sys.argv) > 1 else "Why is the sky blue?"
    body = {"model": MODEL, "messages": [{"role": "user", "content": question}]}
    # With an idempotency key the request may be repeated, after a time-out say, and still makes one job.
    job = request("/v1/jobs", {"type": "chat", "body": body}, {"idempotency-key": str(uuid.uuid4())})
    print(f"{job['id']} is {job['status']}")

    while job["status"] not in ("completed", "failed", "cancelled"):
        job = request(f"/v1/jobs/{job['id']}?wait=60")
    if job["status"] != "completed":
        sys.exit(f"{job['status']}: {job['error']['message']}")
    print(job["result"]["choices"][0]["message"]["content"])
    print(f"${job['cost_usd']} (cache: {job['cache']})")


if __name__ == "__main__":
    main()

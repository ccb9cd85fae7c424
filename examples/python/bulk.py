"""Embeds the lines of a file: one upload, one group, results in the order of the lines. Standard library alone.

    python3 examples/python/bulk.py FILE > vectors.jsonl

Sluice sends many lines with one provider request; a line that the provider refuses fails alone. Run it again with
the same file and nothing is paid twice: answers are kept, and equal lines share one.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

URL = os.environ.get("SLUICE_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("SLUICE_KEY")
MODEL = os.environ.get("SLUICE_EMBEDDING_MODEL", "sim/embed-small")
OPEN = ("scheduled", "queued", "running")


def request(path: str, data: bytes | None = None, content_type: str = "application/json"):
    headers = {"content-type": content_type}
    if KEY:
        headers["authorization"] = f"Bearer {KEY}"
    try:
        return urllib.request.urlopen(urllib.request.Request(URL + path, data, headers))
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code}: {json.load(error)['error']['message']}")


def submit(lines: list[str], group: str) -> list[dict]:
    """One job a line of the upload, one answer a line in the same order."""
    jobs = ({"type": "embedding", "group": group, "body": {"model": MODEL, "input": line}} for line in lines)
    upload = "\n".join(json.dumps(job) for job in jobs).encode()
    with request("/v1/jobs/bulk", upload, "application/x-ndjson") as response:
        return [json.loads(answer) for answer in response]


def wait(group: str) -> None:
    while True:
        with request(f"/v1/groups/{group}") as response:
            summary = json.load(response)
        left = sum(summary["counts"][status] for status in OPEN)
        print(f"{summary['total'] - left} of {summary['total']} done", file=sys.stderr)
        if left == 0:
            return
        time.sleep(0.5)


def fetch(group: str) -> dict[str, dict]:
    """The jobs of the group by their ids, with their results: a hundred at a time."""
    jobs: dict[str, dict] = {}
    after = ""
    while True:
        with request(f"/v1/jobs?group={group}&limit=100&include=result{after}") as response:
            page = json.load(response)
        for job in page["data"]:
            if job.get("result_omitted"):
                with request(f"/v1/jobs/{job['id']}") as response:
                    job = json.load(response)
            jobs[job["id"]] = job
        if not page["has_more"]:
            return jobs
        after = f"&after={page['last_id']}"


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file if line.strip()]
    group = f"bulk-{uuid.uuid4()}"
    answers = submit(lines, group)
    if any("id" in answer for answer in answers):
        wait(group)
    jobs = fetch(group)
    failed = 0
    for line, answer in zip(lines, answers):
        job = jobs.get(answer.get("id", ""), answer)
        if job.get("status") == "completed":
            print(json.dumps({"text": line, "vector": job["result"]["data"][0]["embedding"]}))
        else:
            failed += 1
            print(json.dumps({"text": line, "error": job["error"]["message"]}))
    print(f"{len(lines) - failed} embedded, {failed} failed", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""A batch with the package openai: uploads requests, waits, and prints the answers by their names.

    pip install openai
    python3 examples/python/batch.py "Name a river." "Name a lake."
"""

import json
import os
import sys
import time

from openai import OpenAI

MODEL = os.environ.get("SLUICE_MODEL", "sim/chat-small")
OVER = ("completed", "failed", "expired", "cancelled")

client = OpenAI(
    base_url=os.environ.get("SLUICE_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("SLUICE_KEY", "none"),
)


def main() -> None:
    questions = sys.argv[1:] or ["Name a river.", "Name a lake."]
    lines = [
        json.dumps(
            {
                "custom_id": f"question {number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": MODEL, "messages": [{"role": "user", "content": question}]},
            }
        )
        for number, question in enumerate(questions, 1)
    ]
    file = client.files.create(file=("questions.jsonl", "\n".join(lines).encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    print(f"{batch.id} is {batch.status}")

    while batch.status not in OVER:
        time.sleep(0.5)
        batch = client.batches.retrieve(batch.id)
    counts = batch.request_counts
    print(f"{batch.status}: {counts.completed} answered, {counts.failed} failed")
    for error in batch.errors.data if batch.errors else []:
        print(f"line {error.line}: {error.message}")

    for file_id in filter(None, [batch.output_file_id, batch.error_file_id]):
        for line in client.files.content(file_id).text.strip().split("\n"):
            result = json.loads(line)
            body = (result["response"] or {}).get("body", {})
            if "choices" in body:
                print(f"{result['custom_id']}: {body['choices'][0]['message']['content']}")
            else:
                print(f"{result['custom_id']}: {(result['error'] or body['error'])['message']}")


if __name__ == "__main__":
    main()

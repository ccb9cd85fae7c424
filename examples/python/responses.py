"""Responses with the package openai: in the background, and streamed from where a stream was left.

    pip install openai
    python3 examples/python/responses.py "Why is the sky blue?"
"""

import os
import sys
import time

from openai import OpenAI

MODEL = os.environ.get("SLUICE_MODEL", "sim/chat-small")

client = OpenAI(
    base_url=os.environ.get("SLUICE_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("SLUICE_KEY", "none"),
    max_retries=0,
)


def main() -> None:
    question = sys.argv[1] if len(sys.argv) > 1 else "Why is the sky blue?"

    # Answered at once; the work goes on whether or not anybody waits for it.
    response = client.responses.create(model=MODEL, input=question, background=True)
    print(response.id, "is", response.status)
    while response.status in ("queued", "in_progress"):
        time.sleep(0.2)
        response = client.responses.retrieve(response.id)
    print(f"{response.status}: {response.output_text}")

    # A stream that breaks after a few events, as connections do.
    response_id, last, text = "", -1, ""
    stream = client.responses.create(
        model=MODEL, input=f"And then? {question}", background=True, stream=True
    )
    with stream:
        for event in stream:
            if event.type == "response.created":
                response_id = event.response.id
            if event.type == "response.output_text.delta":
                text += event.delta
            last = event.sequence_number
            if text:
                break
    print("left after event", last)
    for event in client.responses.retrieve(response_id, stream=True, starting_after=last):
        if event.type == "response.output_text.delta":
            text += event.delta
    print(text)


if __name__ == "__main__":
    main()

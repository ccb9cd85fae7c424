"""The openai package, pointed at Sluice: nothing but its base URL changes.

    pip install openai
    python3 examples/python/openai_sdk.py "Why is the sky blue?"
"""

import os
import sys

from openai import APIStatusError, OpenAI

MODEL = os.environ.get("SLUICE_MODEL", "sim/chat-small")
EMBEDDING_MODEL = os.environ.get("SLUICE_EMBEDDING_MODEL", "sim/embed-small")

client = OpenAI(
    base_url=os.environ.get("SLUICE_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("SLUICE_KEY", "none"),
    # Attempts are made there; the answer may have to wait for its turn.
    max_retries=0,
    timeout=600,
)


def main() -> None:
    question = sys.argv[1] if len(sys.argv) > 1 else "Why is the sky blue?"
    messages = [{"role": "user", "content": question}]

    # In one piece. The headers tell the job, and where the answer came from.
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=messages)
    print(raw.headers["x-job-id"], raw.headers["x-cache"])
    print(raw.parse().choices[0].message.content)

    # The same as a stream: of the same content, so it comes from the cache.
    stream = client.chat.completions.create(
        model=MODEL, messages=messages, stream=True, stream_options={"include_usage": True}
    )
    for chunk in stream:
        for choice in chunk.choices:
            print(choice.delta.content or "", end="", flush=True)
        if chunk.usage:
            print(f"\n{chunk.usage.total_tokens} tokens")

    # A new answer, whatever the cache holds.
    fresh = client.chat.completions.create(
        model=MODEL, messages=messages, extra_headers={"Cache-Control": "no-cache"}
    )
    print(fresh.model)

    # Without holding the connection: the job, to be read later at /v1/jobs/{id}.
    accepted = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=messages, extra_headers={"Prefer": "respond-async"}
    )
    print(accepted.status_code, accepted.headers["location"])

    vectors = client.embeddings.create(model=EMBEDDING_MODEL, input=["a river", "a lake"], dimensions=8)
    print(len(vectors.data), "vectors of", len(vectors.data[0].embedding))

    print([model.id for model in client.models.list()])

    try:
        client.chat.completions.create(model="nobody/knows", messages=messages)
    except APIStatusError as error:
        print(error.status_code, error.code, error.param)


if __name__ == "__main__":
    main()

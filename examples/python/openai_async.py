"""The openai package without threads: many calls at once, and a long list of texts embedded in parts.

    pip install openai
    python3 examples/python/openai_async.py "Name a river." "Name a lake."
"""

import asyncio
import os
import sys
import uuid
from collections import Counter

from openai import APIStatusError, AsyncOpenAI

MODEL = os.environ.get("SLUICE_MODEL", "sim/chat-small")
EMBEDDING_MODEL = os.environ.get("SLUICE_EMBEDDING_MODEL", "sim/embed-small")

client = AsyncOpenAI(
    base_url=os.environ.get("SLUICE_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("SLUICE_KEY", "none"),
    # Only for connections that break and servers that restart; attempts at the provider are made there.
    max_retries=5,
    timeout=600,
)


async def ask(question: str) -> tuple[str, str]:
    """The answer, and where it came from. With its key the request may be sent twice and is one job."""
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        extra_headers={"Idempotency-Key": str(uuid.uuid4())},
    )
    return raw.parse().choices[0].message.content or "", raw.headers["x-cache"]


async def embed(texts: list[str], size: int = 100) -> list[list[float]]:
    """The vectors in the order of the texts. All parts are sent at once: the queue paces them."""
    parts = [texts[start : start + size] for start in range(0, len(texts), size)]
    answers = await asyncio.gather(
        *(client.embeddings.create(model=EMBEDDING_MODEL, input=part, dimensions=8) for part in parts)
    )
    return [entry.embedding for answer in answers for entry in answer.data]


async def main() -> None:
    questions = sys.argv[1:] or ["Name a river.", "Name a lake."]
    # Each question three times: equal calls share one, and only that is paid.
    answers = await asyncio.gather(*(ask(question) for question in questions * 3))
    for question, (answer, _) in zip(questions, answers):
        print(f"{question} {answer}")
    print(Counter("paid" if cache == "miss" else "not paid" for _, cache in answers))

    vectors = await embed([f"text {number}" for number in range(250)])
    print(len(vectors), "vectors")

    # What one call costs its own: the others go on.
    results = await asyncio.gather(ask("[[poison]]"), ask(questions[0]), return_exceptions=True)
    print([f"{result.status_code}" if isinstance(result, APIStatusError) else "answered" for result in results])


if __name__ == "__main__":
    asyncio.run(main())

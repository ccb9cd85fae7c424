"""LangChain with nothing but its base URL changed: an answer, a stream, many calls at once, and vectors.

    pip install langchain-openai
    python3 examples/python/langchain_chat.py "Name a river."
"""

import os
import sys

from langchain_openai import ChatOpenAI, OpenAIEmbeddings

BASE_URL = os.environ.get("SLUICE_URL", "http://127.0.0.1:8080") + "/v1"
KEY = os.environ.get("SLUICE_KEY", "none")

model = ChatOpenAI(
    model=os.environ.get("SLUICE_MODEL", "sim/chat-small"),
    base_url=BASE_URL,
    api_key=KEY,
    max_retries=0,  # Sluice retries
    timeout=600,  # a call may wait for its turn
)
# Texts are sent as they are: without this LangChain splits them by the tokens of OpenAI's own models.
embeddings = OpenAIEmbeddings(
    model=os.environ.get("SLUICE_EMBEDDING_MODEL", "sim/embed-small"),
    base_url=BASE_URL,
    api_key=KEY,
    check_embedding_ctx_length=False,
)

question = sys.argv[1] if len(sys.argv) > 1 else "Name a river."
whole = model.invoke(question)
print(whole.content)
print("".join(str(chunk.content) for chunk in model.stream(question)))
print(len(model.batch([f"{question} {number}" for number in range(20)])), "answers")
print(len(embeddings.embed_documents(["a river", "a lake"])), "vectors")

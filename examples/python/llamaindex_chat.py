"""LlamaIndex with nothing but its address changed: an answer and a stream.

    pip install llama-index-llms-openai-like
    python3 examples/python/llamaindex_chat.py "Name a river."
"""

import os
import sys

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model=os.environ.get("SLUICE_MODEL", "sim/chat-small"),
    api_base=os.environ.get("SLUICE_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("SLUICE_KEY", "none"),
    is_chat_model=True,  # else it calls /v1/completions
    is_function_calling_model=True,
    context_window=128_000,  # else LlamaIndex assumes 3,900 tokens
    max_retries=0,  # Sluice retries
    timeout=600,  # its default is 60 s, and a call may wait for its turn
)

question = ChatMessage(role="user", content=sys.argv[1] if len(sys.argv) > 1 else "Name a river.")
print(llm.chat([question]).message.content)
print("".join(chunk.delta or "" for chunk in llm.stream_chat([question])))

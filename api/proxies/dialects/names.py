"""Which dialect a path belongs to."""

from __future__ import annotations

import enum
from typing import Final

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
EMBEDDINGS: Final = "/v1/embeddings"
RESPONSES: Final = "/v1/responses"
MESSAGES: Final = "/v1/messages"
COUNT_TOKENS: Final = "/v1/messages/count_tokens"
TOKENIZE: Final = "/tokenize"
OLLAMA: Final = "/api/"
OLLAMA_CHAT: Final = "/api/chat"
OLLAMA_GENERATE: Final = "/api/generate"
OLLAMA_EMBED: Final = "/api/embed"


class Dialect(enum.Enum):
    """What an app speaks."""

    OPENAI = "OpenAI"
    RESPONSES = "OpenAI Responses"
    ANTHROPIC = "Anthropic"
    OLLAMA = "Ollama"


def dialect_of(path: str) -> Dialect:
    """The dialect of a data path's address: in it everything is answered, errors too."""
    if path.startswith(OLLAMA):
        return Dialect.OLLAMA
    if path == MESSAGES or path.startswith(f"{MESSAGES}/"):
        return Dialect.ANTHROPIC
    if path == RESPONSES or path.startswith(f"{RESPONSES}/"):
        return Dialect.RESPONSES
    return Dialect.OPENAI

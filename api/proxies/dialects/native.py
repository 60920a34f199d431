"""Which engine's server speaks which dialect by itself.

Only the engine is known here, not the version of its image: a server that lacks a page which its engine has by now
says so when it is first asked, and is asked again in other words (`Learned`). What is not here is translated, or passed
on where there is nothing to translate it to. `/v1/responses` of NIM and TensorRT-LLM is not here though there is one:
it is experimental in NIM 1 and young in the other, and a page that is there but does less is no 404. SGLang's was not
looked at.
"""

from __future__ import annotations

from typing import Final

from api.proxies.calls import Backend
from api.proxies.dialects.json_text import dumps, loads
from api.proxies.dialects.names import COUNT_TOKENS, MESSAGES, RESPONSES

NATIVE: Final = {
    "vllm": frozenset({MESSAGES, RESPONSES}),
    "llamacpp": frozenset({MESSAGES, COUNT_TOKENS}),
    "sglang": frozenset({MESSAGES, COUNT_TOKENS}),
    "nim": frozenset({MESSAGES, COUNT_TOKENS}),
    "openai": frozenset({RESPONSES}),
    "anthropic": frozenset({MESSAGES, COUNT_TOKENS}),
}
TOKENIZES_CHATS: Final = frozenset({"vllm"})
"""Servers whose `/tokenize` takes messages, and so counts what the model reads."""

SOURCES: Final = {
    ("vllm", MESSAGES): "since 0.11.1: vllm-project/vllm#21313",
    ("vllm", RESPONSES): "since 0.10.0: vllm-project/vllm#20504",
    ("llamacpp", MESSAGES): "since its build of December 2025: ggml-org/llama.cpp#17570",
    ("llamacpp", COUNT_TOKENS): "the same",
    ("sglang", MESSAGES): "since February 2026: sgl-project/sglang#18630",
    ("sglang", COUNT_TOKENS): "the same",
    ("nim", MESSAGES): "since 2.0.1, by its vLLM or SGLang: docs.nvidia.com/nim/large-language-models/2.0.1/reference",
    ("nim", COUNT_TOKENS): "the same",
    ("openai", RESPONSES): "a service outside (settings.redaction.targets) that is said to speak OpenAI's dialects",
    ("anthropic", MESSAGES): "likewise, Anthropic's",
    ("anthropic", COUNT_TOKENS): "the same",
}


NOT_FOUND: Final = 404
NOT_ALLOWED: Final = 405
NO_PAGE: Final = frozenset({"not found", "file not found", "method not allowed", ""})
REMEMBERED: Final = 1024


def speaks(backend: Backend, path: str) -> bool:
    """Whether a call to this path can go there as it is."""
    return path in NATIVE.get(backend.engine, frozenset())


def no_such_page(path: str, status: int, body: bytes) -> bool:
    """Whether this answer says that the server has no such page; a model that it doesn't know is another thing."""
    if status == NOT_ALLOWED:
        return True
    if status != NOT_FOUND:
        return False
    try:
        said = loads(body or b'""')
    except ValueError:
        return b"model" not in body.lower()
    inner = said.get("error", said) if isinstance(said, dict) else said
    message = inner.get("detail") or inner.get("message") if isinstance(inner, dict) else inner
    text = message if isinstance(message, str) else dumps(message).decode()
    return text.strip().rstrip(".").lower() in NO_PAGE or path in text


class Learned:
    """What the engines' servers speak, less what single instances were found to lack: images older than the table."""

    def __init__(self) -> None:
        self._lacking: dict[tuple[str, int, str], None] = {}

    def __call__(self, backend: Backend, path: str) -> bool:
        """Whether a call to this path can go there as it is."""
        return speaks(backend, path) and (backend.host, backend.port, path) not in self._lacking

    def lacks(self, backend: Backend, path: str, status: int, body: bytes) -> bool:
        """What came back for a call that was passed on. True: the server has no such page, so translate from now on."""
        if not speaks(backend, path) or not no_such_page(path, status, body):
            return False
        while len(self._lacking) >= REMEMBERED:
            del self._lacking[next(iter(self._lacking))]
        self._lacking[backend.host, backend.port, path] = None
        return True

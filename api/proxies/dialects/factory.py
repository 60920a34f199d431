"""Which translation a call needs, if any."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from api.proxies.calls import Backend, Field, Refused
from api.proxies.dialects import anthropic_request, ollama_request, responses_request
from api.proxies.dialects.anthropic_answer import MessageWriter
from api.proxies.dialects.json_text import dumps
from api.proxies.dialects.names import (
    CHAT,
    COUNT_TOKENS,
    MESSAGES,
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OLLAMA_GENERATE,
    RESPONSES,
    TOKENIZE,
    Dialect,
)
from api.proxies.dialects.native import TOKENIZES_CHATS, speaks
from api.proxies.dialects.ollama_answer import Clock, LineWriter, vectors
from api.proxies.dialects.responses_answer import ResponseWriter
from api.proxies.dialects.translated import Answer, Translated, Translation, Unsayable


def translation(
    call_path: str,
    headers: Iterable[Field],
    body: bytes,
    backend: Backend,
    *,
    spoken: Callable[[Backend, str], bool] = speaks,
    clock: Clock = time.monotonic,
) -> Translation | None:
    """What stands between a call and its backend; None: the backend speaks it, or nothing could put it better.

    `spoken`: a `Learned`, where what servers lack is remembered. `body` as the app sent it, with the model's name as
    the app knows it. What is wrong with it is raised by `body()`.
    """
    make = MAKERS.get(call_path)
    if make is None or spoken(backend, call_path):
        return None
    try:
        _plain(headers)
        return make(body, backend, clock)
    except Refused as refused:
        return Unsayable(refused)


def _plain(headers: Iterable[Field]) -> None:
    """A packed body would have to be unpacked first; no SDK sends one."""
    for name, value in headers:
        if name.lower() == b"content-encoding" and value.lower() != b"identity":
            said = value.decode("latin-1")
            raise Refused(415, "CannotTranslate", f"a body packed with {said} is not translated: send it unpacked")


def _messages(body: bytes, backend: Backend, clock: Clock) -> Translation:
    del clock
    wanted = anthropic_request.chat(body, backend)
    writer = MessageWriter(wanted.model, thoughts=wanted.thoughts)
    return Translated(Dialect.ANTHROPIC, CHAT, dumps(wanted.body), writer, stream=wanted.stream)


def _responses(body: bytes, backend: Backend, clock: Clock) -> Translation:
    del clock
    wanted = responses_request.chat(body, backend)
    writer = ResponseWriter(wanted.echoed)
    return Translated(Dialect.RESPONSES, CHAT, dumps(wanted.body), writer, stream=wanted.stream)


def _ollama_chat(body: bytes, backend: Backend, clock: Clock) -> Translation:
    return _ollama(ollama_request.chat(body, backend), clock, chat=True)


def _ollama_generate(body: bytes, backend: Backend, clock: Clock) -> Translation:
    return _ollama(ollama_request.generate(body, backend), clock, chat=False)


def _ollama(wanted: ollama_request.Wanted, clock: Clock, *, chat: bool) -> Translation:
    writer = LineWriter(wanted.model, chat=chat, thoughts=wanted.thoughts, clock=clock)
    return Translated(Dialect.OLLAMA, wanted.path, dumps(wanted.body), writer, stream=wanted.stream)


class Counting(Answer):
    """`count_tokens`, by the tokenizer that the model's server has."""

    def translated(self, said: Any) -> dict[str, Any]:
        """Raises ValueError."""
        count = said.get("count") if isinstance(said, dict) else None
        if not isinstance(count, int):
            raise ValueError("its answer has no count")  # noqa: TRY004 - the backend's mistake, not the program's
        return {"input_tokens": count}


def _count(body: bytes, backend: Backend, clock: Clock) -> Translation:
    del clock
    if backend.engine not in TOKENIZES_CHATS:
        raise Refused(
            404,
            "CannotCount",
            f"the server of {backend.workload} ({backend.engine}) can't count the tokens of a conversation",
        )
    wanted = anthropic_request.counted(body, backend)
    return Counting(Dialect.ANTHROPIC, TOKENIZE, dumps(wanted.body))


class Embedding(Answer):
    """Ollama's `/api/embed`."""

    def __init__(self, wanted: ollama_request.Wanted, clock: Clock) -> None:
        super().__init__(Dialect.OLLAMA, wanted.path, dumps(wanted.body))
        self._model = wanted.model
        self._clock = clock
        self._asked_at = clock()

    def translated(self, said: Any) -> dict[str, Any]:
        """Raises ValueError."""
        return vectors(self._model, said, self._clock() - self._asked_at)


def _embed(body: bytes, backend: Backend, clock: Clock) -> Translation:
    return Embedding(ollama_request.embed(body, backend), clock)


MAKERS: Final[dict[str, Callable[[bytes, Backend, Clock], Translation]]] = {
    MESSAGES: _messages,
    COUNT_TOKENS: _count,
    RESPONSES: _responses,
    OLLAMA_CHAT: _ollama_chat,
    OLLAMA_GENERATE: _ollama_generate,
    OLLAMA_EMBED: _embed,
}
"""Every path that may be translated. All others are passed on."""


def streams(call_path: str, wanted: bool | None) -> bool:
    """Whether a call asks for a stream: Ollama's do where they say nothing."""
    if wanted is None:
        return call_path in {OLLAMA_CHAT, OLLAMA_GENERATE}
    return wanted

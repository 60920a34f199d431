"""How to ask an instance whether it serves, and how to read its answer. Pure: bytes out, bytes in.

Readiness has tiers. A container that runs is asked for its health page; once that answers, for the canary of
its kind (a token, a vector, a transcript), since a health page can say 200 for minutes while requests hang. A
server that leaves a canary without an answer may only be busy: then it is asked how much work it has done.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from reconciler.canaries import CANARIES
from reconciler.canaries.exchange import Reply, Request
from reconciler.hosts import Answer
from reconciler.model import ProbeSpec

HEALTH: Final = "health"
WORK: Final = "work"
DEFAULT_PATH: Final = "/health"  # of a probe that names none: for a canary it means the kind's own page
LONGEST_WAIT: Final = 60.0  # seconds that a server's Retry-After is honoured
LONGEST_WORDS: Final = 300
BUSY: Final = frozenset({408, 425, 429, 503, 504})
NO_PAGE: Final = frozenset({404, 405, 501})
# gpt-oss: vLLM and others answer 500 when their parser stumbles over tokens that the model did make.
UNPARSED: Final = re.compile(r"HarmonyError|expecting start token|remaining in message header")
# Counters of work done, by engine: vLLM and NIM, SGLang, llama.cpp, TEI.
COUNTERS: Final = re.compile(
    r"^(?:(?:vllm|sglang):(?:prompt|generation)_tokens_total|llamacpp:(?:prompt_tokens|tokens_predicted)_total"
    r"|te_request_success)(?:\{[^}]*\})?\s+([0-9.eE+-]+)",
    re.MULTILINE,
)


def has_canary(spec: ProbeSpec) -> bool:
    """Its kind has a question of its own beyond the health page."""
    return spec.kind in CANARIES


def health(spec: ProbeSpec) -> ProbeSpec:
    """The question of the lower tier: a page."""
    return replace(spec, kind=HEALTH, path=spec.health) if has_canary(spec) else spec


def canary(spec: ProbeSpec) -> ProbeSpec:
    """The question of the upper tier, with the page and the patience that it needs."""
    path = CANARIES[spec.kind].path if spec.path in {"", DEFAULT_PATH} else spec.path
    return replace(spec, path=path, timeout=spec.canary_timeout)


def work(spec: ProbeSpec) -> ProbeSpec:
    """How much has it done since it started? The answer tells busy from hung."""
    return replace(spec, kind=WORK, path="/metrics")


def request(spec: ProbeSpec) -> Request:
    """What to send; the connection is closed by the server after its answer."""
    kind = CANARIES.get(spec.kind)
    return kind.asks(spec, spec.path) if kind is not None else Request(method="GET", target=spec.path)


def where(spec: ProbeSpec) -> str:
    """The question in words."""
    return f"{'POST' if has_canary(spec) else 'GET'} {spec.path} on port {spec.port}"


def answer(spec: ProbeSpec, reply: Reply) -> Answer:
    """What the reply means."""
    asked, status = where(spec), reply.status
    if status in BUSY:
        why = words(reply) or ("it is still loading" if status == HTTPStatus.SERVICE_UNAVAILABLE else "it is busy")
        return Answer(ready=False, message=f"{asked} answers {status}: {why}", busy=True, retry_after=_retry(reply))
    if spec.kind == WORK:
        return Answer(ready=False, message=f"{asked} answers {status}", work=_work(reply))
    if spec.kind == HEALTH and status in NO_PAGE:
        return Answer(ready=True, message=f"{asked} answers {status}: it has no such page, so its canary decides")
    kind = CANARIES.get(spec.kind)
    if kind is None:
        ready = 200 <= status < 400  # noqa: PLR2004  # the range of success and redirects
        return Answer(ready=ready, message=f"{asked} answers {status}")
    if spec.kind == "chat" and UNPARSED.search(words(reply)):
        return Answer(ready=True, message=f"{asked} gives a token, over which its own parser stumbles: {words(reply)}")
    if status != HTTPStatus.OK:
        return Answer(ready=False, message=_refusal(spec, reply))
    problem = kind.problem(reply)
    if problem is None and spec.known_answer and kind.wrong is not None:
        problem = kind.wrong(reply)
    if problem is None:
        return Answer(ready=True, message=f"{asked} gives {kind.gives}")
    said = words(reply)
    return Answer(ready=False, message=f"{asked} answers 200, but {problem}{f': {said}' if said else ''}")


def silence(spec: ProbeSpec) -> Answer:
    """It did not answer in time: dead or busy, nobody knows yet."""
    return Answer(ready=False, message=f"{where(spec)} got no answer within {spec.timeout:g} s", busy=True)


def words(reply: Reply) -> str:
    """What a server's error says, in any of the shapes that they use; empty if it says nothing readable."""
    said = reply.json()
    for key in ("error", "detail", "message"):
        if isinstance(said, dict) and said.get(key):
            said = said[key]
    if isinstance(said, list) and said:
        said = said[0]
    if isinstance(said, dict):
        said = said.get("message") or said.get("msg")
    text = said if isinstance(said, str) else ""
    return " ".join(text.split())[:LONGEST_WORDS]


def _refusal(spec: ProbeSpec, reply: Reply) -> str:
    status, said = reply.status, words(reply)
    text = f"{where(spec)} answers {status}{f': {said}' if said else ''}"
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return f"{text} (the server wants a key, which a canary has not: use `probe: http`)"
    if status == HTTPStatus.NOT_FOUND and "model" in said.lower():
        return f"{text} (asked for {spec.model or 'no name'}: is that the name it is served by?)"
    if status in NO_PAGE:
        return f"{text} (does it serve {spec.kind}? `probe: {{kind: {spec.kind}, path: ...}}` names another page)"
    return text


def _retry(reply: Reply) -> float:
    try:
        seconds = float(reply.headers.get("retry-after", "0"))
    except ValueError:
        return 0.0  # a date: our clock and the server's may differ
    return min(max(seconds, 0.0), LONGEST_WAIT) if math.isfinite(seconds) else 0.0


def _work(reply: Reply) -> float | None:
    if reply.status != HTTPStatus.OK:
        return None
    counts = COUNTERS.findall(reply.body.decode("utf-8", "replace"))
    try:
        return sum(float(count) for count in counts) if counts else None
    except ValueError:
        return None

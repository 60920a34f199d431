"""Apps that never rest: each asks a model something of its own, and knows what the right answer is.

Every answer gets a verdict. `right`: what the model would have said. `refused`: an error before the answer began, in
the shape that apps expect. `told`: a stream that broke and said so. `gone`: nobody was there, not a byte came back.
`wrong` and `cut` must not happen: another answer, or one that ended without a word.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

Right = Callable[[str, Mapping[str, Any]], str]
"""What the model of a name has to answer to a body."""

PATIENCE: Final = 90.0  # seconds that an app waits for a model
AGAIN: Final = 0.2  # seconds until an app that found nobody asks again
RESTARTING: Final = "Restarting"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and what became of it. Times are of `time.monotonic`."""

    model: str
    stream: bool
    began: float
    ended: float
    verdict: str
    reason: str = ""
    backend: str = ""


@dataclass
class Apps:
    """So many apps at once, each with one of the models, until they are told to stop."""

    url: str
    models: Sequence[str]
    right: Right
    rng: random.Random
    asked: list[Asked] = field(default_factory=list)
    resting: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, count: int) -> None:
        """Ask and ask."""
        limits = httpx2.Limits(max_connections=count)
        async with httpx2.AsyncClient(base_url=self.url, timeout=PATIENCE, limits=limits) as http:
            await asyncio.gather(*(self._app(http, number) for number in range(count)))

    async def _app(self, http: httpx2.AsyncClient, number: int) -> None:
        question = 0
        while not self.resting.is_set():
            question += 1
            model, stream = self.models[number % len(self.models)], self.rng.random() < 0.6
            words = " ".join(self.rng.choice(("sparks", "über", "grün", "名前", "token")) for _ in range(8))
            text = f"app {number} asks {question}: {words}"
            self.asked.append(asked := await self._one(http, model, text, stream=stream))
            await asyncio.sleep(AGAIN if asked.verdict in {"gone", "refused"} else self.rng.random() * 0.05)

    async def _one(self, http: httpx2.AsyncClient, model: str, text: str, *, stream: bool) -> Asked:
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
        began, backend, heads = time.monotonic(), "", httpx2.Headers()
        try:
            async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
                heads, backend = answer.headers, answer.headers.get("sparkkeep-backend", "")
                said = (await answer.aread()).decode()
                status = answer.status_code
        except httpx2.TransportError as error:
            nobody = not heads and not isinstance(error, httpx2.TimeoutException)
            verdict, reason = "gone" if nobody else "cut", f"{type(error).__name__}: {error}"
        else:
            right = self.right(model, body)
            verdict, reason = judged(status, heads.get("content-type", ""), said, right, stream=stream)
            if verdict == "refused" and RESTARTING in reason and not stream and "retry-after" not in heads:
                verdict, reason = "wrong", f"{reason}, and not when to ask again"
        return Asked(model, stream, began, time.monotonic(), verdict, reason, backend)


def judged(status: int, kind: str, said: str, right: str, *, stream: bool) -> tuple[str, str]:
    """The verdict on an answer, with the reason where it is no `right` one."""
    if status != httpx2.codes.OK:
        return _refusal(status, said)
    if not stream:
        text = json.loads(said)["choices"][0]["message"]["content"]
        return ("right", "") if text == right else ("wrong", text)
    if not kind.startswith("text/event-stream"):
        return "wrong", f"a stream of {kind}"
    heard, last = "", ""
    for line in said.splitlines():
        if not line.startswith("data: "):
            continue
        last = line.removeprefix("data: ")
        if last == "[DONE]":
            break
        event: dict[str, Any] = json.loads(last)
        if "error" in event:
            if not right.startswith(heard):
                return "wrong", heard
            code = str(event["error"].get("code"))
            return ("told", code) if heard else ("refused", f"{status} {code}: {event['error'].get('message')}")
        for choice in event["choices"]:
            heard += choice["delta"].get("content") or ""
    if last != "[DONE]":
        return "cut", f"the stream ended after {heard!r}"
    return ("right", "") if heard == right else ("wrong", heard)


def _refusal(status: int, said: str) -> tuple[str, str]:
    try:
        error = json.loads(said)["error"]
        return "refused", f"{status} {error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return "wrong", f"{status}, and no error as apps know it: {said[:200]}"


def counted(asked: Sequence[Asked]) -> Counter[str]:
    """How many there are of each verdict, refusals and told breaks by their reason."""
    return Counter(
        each.verdict if each.verdict == "right" else f"{each.verdict}: {each.reason.partition(':')[0]}"
        for each in asked
    )

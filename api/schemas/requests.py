"""Requests of apps: who asked, where it went and why, how long it took, and how it ended. Not what was said."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.base import Shape


class WaitingShape(Shape):
    """How it stands with a request that waits, for its turn or for a model that is being started."""

    workload: str
    position: int = Field(description="1 for who is next")
    of: int = Field(description="how many wait for the same")
    since: float
    eta: float | None = Field(description="seconds until the model answers; null where nobody can tell")
    message: str


class QueueShape(Shape):
    """All who wait for one workload."""

    workload: str
    state: Literal["ready", "starting", "blocked", "failed", "refused", "stopped"]
    waiting: int
    clients: int = Field(description="how many different ones")
    under_way: int = Field(description="requests that it answers meanwhile")
    since: float = Field(description="when the one came that has waited longest")
    eta: float | None
    gives_way: bool = Field(description="what it answers ends, and then it makes room for another")
    message: str


class RequestShape(Shape):
    """One request. Seconds count from its head; null: that has not come (yet), or is not known."""

    id: str = Field(description="of its answer's `x-request-id`")
    at: float
    who: str = Field(description="the name of its key, or the address that it came from")
    method: str
    path: str
    model: str = Field(description="as it was asked for: a name, or an alias")
    workload: str | None
    backend: str | None = Field(description="`workload@spark`: where it went last")
    why: str | None = Field(description="why there, in a sentence")
    tries: int = Field(description="how many backends it was sent to")
    stream: bool
    state: Literal["waiting", "asked", "answering", "ended"]
    waiting: WaitingShape | None = Field(description="while it waits: for what, and how long it may take")
    queued_seconds: float = Field(description="until it was decided where it goes")
    load_seconds: float = Field(description="how much of that the model was being started")
    first_byte_seconds: float | None
    total_seconds: float
    bytes_in: int
    bytes_out: int
    prompt_tokens: int | None = Field(description="as its server counted them")
    completion_tokens: int | None
    tokens_per_second: float | None
    status: int | None
    cause: str | None = Field(description="of its end: `answered`, or what went wrong, as one word")
    captured: bool = Field(description="whether `GET /api/requests/{id}` has what was said in it")


class RequestsShape(Shape):
    """Those under way, the oldest first, and those that ended last, the newest first."""

    in_flight: list[RequestShape]
    queues: list[QueueShape] = Field(description="what is waited for, by name")
    ended: list[RequestShape]


class WordsShape(Shape):
    """What was said in a request, of each side at most 64 KiB; `whole`: that is all of it."""

    request: str
    answer: str
    whole: bool


class OneRequestShape(Shape):
    """One of them. `words` is null where `settings.proxy.capture` did not ask for what was said."""

    request: RequestShape
    words: WordsShape | None

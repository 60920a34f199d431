# ruff: noqa: RUF012  # pydantic copies mutable defaults
"""How apps are let in to the models: `settings.proxy`. Keys are named here; what they are is each a secret."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from state.declared import Declared
from state.fields import Duration, Name, Size, Steers

Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


class AppKey(Declared):
    """One app or person that may ask for models, and how often."""

    name: Name
    """What it is called here, in records and in metrics."""
    secret: Name
    """Name of the secret that is the key (`sparkkeep secret set NAME`)."""
    requests_per_minute: Count | None = None
    """Requests that it may begin in a minute; left out: as many as it likes."""
    tokens_per_minute: Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)] | None = None
    """Tokens, of prompts and of answers, that it may use in a minute, as the servers count them."""
    concurrency: Count | None = None
    """Requests that it may have under way at once."""


def _once(given: list[AppKey]) -> list[AppKey]:
    for field in ("name", "secret"):
        said = [getattr(key, field) for key in given]
        if twice := next((word for word in said if said.count(word) > 1), None):
            raise ValueError(f"two of them have the {field} {twice}")
    return given


class Proxy(Declared):
    """The address for apps."""

    concurrency: Annotated[Count | None, Steers("requests to models")] = None
    """Requests that one instance of a model gets at once, where the model's own `concurrency` says nothing; more wait
    their turn. Left out: as many as come, since servers of models queue and batch by themselves."""
    keys: Annotated[list[AppKey], Field(max_length=256), AfterValidator(_once), Steers("who may ask models")] = []
    """The keys of apps, by name, with their limits. Without any, every app is let in, and none is limited."""
    drain: Annotated[Duration, Steers("planned stops of what requests are under way at")] = 30.0
    """How long a planned stop (another declaration, a move, a restart) waits for the requests under way at an instance,
    such as 30s; new ones go elsewhere or wait meanwhile. 0: not at all. What is broken is never waited for."""
    diarizer: Annotated[Name | None, Steers("transcripts with speakers")] = None
    """The workload that is asked who speaks, where a request names none and several could."""
    spool: Annotated[Size, Steers("how many sounds are taken at once")] = 8 * 2**30
    """What all sounds that are being transcribed may take of sparkkeep's own disk, in the data folder. One for which
    there is no room is refused with 507 and `Retry-After`."""
    sound_jobs: Annotated[int, Field(strict=True, ge=0, le=1_000), Steers("transcripts that nobody waits for")] = 16
    """How many transcripts may be under way or kept for those who asked with `Prefer: respond-async`."""
    keep_sound_jobs: Annotated[Duration, Steers("transcripts that nobody waits for")] = 3600.0
    """How long such a transcript is kept when it is done, such as 1h."""
    keep_requests: Annotated[int, Field(strict=True, ge=0, le=10_000), Steers("records of requests")] = 500
    """How many requests are remembered after their end, without what was said in them."""
    capture: Annotated[list[Name], Field(max_length=64), Steers("records of requests")] = []
    """Models of which the last requests and answers are kept in memory word for word, to be read through the API."""
    keep_captured: Annotated[int, Field(strict=True, ge=1, le=1_000), Steers("records of requests")] = 50
    """How many requests are kept word for word, of all models together; of each at most 64 KiB both ways."""

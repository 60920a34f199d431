"""What a proxy in front of the Sparks is to know: where sparkkeep is, and which models it may ask by itself.

A model is asked directly at `/m/NAME/v1/...`. Everything else goes to sparkkeep, and so does such a request as soon as
nobody answers it. What only sparkkeep can do, it keeps: a model that runs on demand is started and stopped by its count
of requests; keys and tokens are asked for by it; whether a page in a browser may ask is its judgement. So nobody gets
past it there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from api.proxies.calls import Backend

KEEPER: Final = "127.0.0.1:9999"
LISTEN: Final = ":8080"
ADDRESS: Final = r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])?:[0-9]{1,5}$"
WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")
NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")
PAGE: Final = re.compile(r"/[A-Za-z0-9._~/-]{0,200}")
PATH: Final = "/v1/[a-z0-9/_-]+"
"""What is asked directly: no dots and no percent signs, so that no two readers take it for different things."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One model that may be asked directly. `most`: requests at once at each instance; None: as many as come.

    `model` is what its servers call it, which is what has to stand in the body; empty: something that is not told here.
    `page` answers while a server is well; empty: that it takes connections is all that can be checked.
    """

    name: str
    backends: tuple[Backend, ...]
    model: str = ""
    page: str = ""
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One proxy's work. `by_body`: a model is also found by its name in the body, at sparkkeep's own addresses."""

    pools: tuple[Pool, ...] = ()
    keeper: str = KEEPER
    listen: str = LISTEN
    by_body: bool = False
    note: str = ""
    """Why no model is asked directly, if that is so."""


def sayable(pool: Pool) -> Pool | None:
    """The pool as far as it can be written down without quoting; None if it has to be left to sparkkeep.

    What a person declared was held to the same patterns long ago. A server's own words were not.
    """
    if not NAME.fullmatch(pool.name) or (pool.page and not PAGE.fullmatch(pool.page)):
        return None
    backends = tuple(b for b in pool.backends if HOST.fullmatch(b.host) and NAME.fullmatch(b.spark))
    if not backends:
        return None
    model = pool.model if WORD.fullmatch(pool.model) else ""
    return Pool(name=pool.name, backends=backends, model=model, page=pool.page, most=pool.most)


def ordered(pools: Iterable[Pool]) -> tuple[Pool, ...]:
    """In an order that does not change while nothing else does, so that the same set is the same text."""
    sayable_ones = (said for pool in pools if (said := sayable(pool)) is not None)
    return tuple(sorted(sayable_ones, key=lambda pool: pool.name))


def servers(pool: Pool) -> list[Backend]:
    """Its instances, in such an order."""
    return sorted(pool.backends, key=lambda backend: (backend.spark, backend.port))


def where(backend: Backend) -> str:
    """Its address with its port."""
    host = f"[{backend.host}]" if ":" in backend.host else backend.host
    return f"{host}:{backend.port}"


def pattern(name: str) -> str:
    """A regular expression for the path at which a model is asked directly."""
    return f"^/m/{re.escape(name)}{PATH}$".replace(r"\-", "-")


def about(proxy: str, use: str, site: Site) -> str:
    """The comment at the top."""
    asked = [_direct(pool) for pool in site.pools]
    lines = [
        f"The way to sparkkeep's models, for {proxy}. Made by `sparkkeep render {proxy}`, anew whenever",
        "others answer: what is changed here by hand is lost.",
        use,
        *(["Asked directly, on the Sparks:", *asked] if asked else ["No model is asked directly."]),
        *([site.note] if site.note else []),
        "Everything else goes to sparkkeep.",
    ]
    return "".join(f"# {line}\n" for line in lines)


def _direct(pool: Pool) -> str:
    body = f"   (the body says model: {pool.model})" if pool.model else ""
    return f"  /m/{pool.name}/v1/...{body}"

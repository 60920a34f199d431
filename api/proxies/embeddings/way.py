"""How one instance is asked for vectors and scores: what its kind of server takes, and what its recipe says of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from state.pooling import Pooling, Server, server_of
from state.recipes import Recipe

Style = Literal["cohere", "tei", "sglang", "nim"]
TEI_PAYLOAD: Final = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a kind of server takes.

    `batch`, `size`: inputs and bytes in a request. `exact`: what is asked of the vectors' form is kept or refused, so
    that nobody has to look at the answer. `tokens`: an input may be a list of tokens. `style`: how it is asked to
    rerank, at `page`.
    """

    batch: int | None = None
    size: int | None = None
    exact: bool = False
    tokens: bool = True
    style: Style = "cohere"
    page: str = "/v1/rerank"


FAMILIES: Final[dict[Server, Family]] = {
    "vllm": Family(exact=True),
    "sglang": Family(style="sglang"),
    "llamacpp": Family(),
    "nim": Family(style="nim", page="/v1/ranking"),
    "tei": Family(batch=32, size=TEI_PAYLOAD, style="tei", page="/rerank"),
    "spark_embed": Family(batch=2048, exact=True),
    "infinity": Family(batch=2048, tokens=False, page="/rerank"),
    "other": Family(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The same of one workload, with what its recipe says instead."""

    server: Server = "other"
    batch: int | None = None
    size: int | None = None
    parallel: int = 4
    matryoshka: bool = False
    truncate: bool = False
    prompts: tuple[tuple[str, str], ...] = ()

    @property
    def family(self) -> Family:
        """Its kind of server."""
        return FAMILIES[self.server]

    @property
    def plain(self) -> bool:
        """Whether every request for vectors can go there as it came."""
        return self.family.exact and not (self.batch or self.size or self.matryoshka or self.truncate or self.prompts)


def way_of(recipe: Recipe) -> Way:
    """Of a recipe."""
    return _made(server_of(recipe.engine, recipe.image, recipe.pooling), recipe.pooling or Pooling())


@lru_cache(maxsize=16)
def usual(engine: str) -> Way:
    """Where only the engine is known."""
    return _made(server_of(engine, "", None), Pooling())


def _made(server: Server, said: Pooling) -> Way:
    family = FAMILIES[server]
    return Way(
        server=server,
        batch=said.batch or family.batch,
        size=said.batch_bytes or family.size,
        parallel=said.parallel,
        matryoshka=said.matryoshka,
        truncate=said.truncate and server != "infinity",  # which always does
        prompts=tuple(said.prompts.items()),
    )

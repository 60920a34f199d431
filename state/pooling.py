# ruff: noqa: RUF012  # pydantic copies mutable defaults
"""How a model of vectors or of rerank scores is asked: `pooling` of a recipe. None of it needs a new container."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from state.declared import Declared
from state.fields import Name, Size, no_control

Server = Literal["vllm", "sglang", "llamacpp", "nim", "tei", "spark_embed", "infinity", "other"]

IMAGES: Final[dict[str, Server]] = {
    "text-embeddings-inference": "tei",
    "spark-embed": "spark_embed",
    "infinity": "infinity",
}
"""What in an image's name tells whose server is in it."""
ENGINES: Final[frozenset[Server]] = frozenset({"vllm", "sglang", "llamacpp", "nim"})
TRUNCATING: Final[frozenset[Server]] = frozenset({"vllm", "nim", "tei", "infinity", "spark_embed"})
SMALLEST: Final = 1024

Prompt = Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(no_control)]


def _some(size: int) -> int:
    if size < SMALLEST:
        raise ValueError("must be at least 1KiB")
    return size


class Pooling(Declared):
    """How a model of vectors or of rerank scores is asked."""

    server: Server | None = None
    """Whose server it is, which decides how it is asked; left out: by the engine, or by the image's name."""
    batch: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Inputs that it takes in one request; more are split, and joined again. Left out: what such a server takes."""
    batch_bytes: Annotated[Size, AfterValidator(_some)] | None = None
    """Size of a request that it takes, such as 2MB; left out: what such a server takes."""
    parallel: Annotated[int, Field(strict=True, ge=1, le=64)] = 4
    """Parts of one request that are under way at a time."""
    matryoshka: bool = False
    """The model was trained so that its vectors may be cut: `dimensions` are then cut here, and brought to length 1."""
    truncate: bool = False
    """Let the server cut what is too long for the model, instead of refusing it."""
    prompts: Annotated[dict[Name, Prompt], Field(max_length=16)] = {}
    """Texts put before every input, by name: what asks for MODEL@NAME, or says `input_type: NAME`, gets that one."""


def server_of(engine: str, image: str, pooling: Pooling | None) -> Server:
    """Whose server answers."""
    if pooling is not None and pooling.server is not None:
        return pooling.server
    for known in ENGINES:
        if engine == known:
            return known
    return next((server for part, server in IMAGES.items() if part in image), "other")


def fault(engine: str, image: str, pooling: Pooling) -> str | None:
    """What can't be kept of what is declared."""
    server = server_of(engine, image, pooling)
    if pooling.truncate and server not in TRUNCATING:
        return f"pooling.truncate: {server} can't be told to; {', '.join(sorted(TRUNCATING))} can"
    return None

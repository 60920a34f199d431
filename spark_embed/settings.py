"""What the container is told, by variables of its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "SPARK_EMBED_"
DEVICES: Final = ("cuda", "cpu")
DTYPES: Final = ("auto", "bfloat16", "float16", "float32")


class Unusable(Exception):
    """It can't run as it is told to; the text says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of them. An empty name is no model; `max_length` 0 is the model's own."""

    name: str = ""  # that the models are called by in answers; left out: what they were loaded from
    model: str = ""
    revision: str = ""
    reranker: str = ""
    reranker_revision: str = ""
    host: str = "0.0.0.0"  # noqa: S104  # the container's; who may reach it is the Spark's affair
    port: int = 8018
    device: str = "cuda"
    dtype: str = "auto"  # bfloat16 on a GPU, float32 on a CPU
    max_length: int = 0  # tokens of one input
    batch_tokens: int = 16384  # of one batch, with its padding
    batch_inputs: int = 512
    queue_inputs: int = 8192  # that wait; more are told to come back
    trust_remote_code: bool = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Settings:
        """Raises Unusable."""
        told = {name.removeprefix(PREFIX).lower(): text for name, text in environ.items() if name.startswith(PREFIX)}
        unknown = sorted(told.keys() - set(cls.__slots__))
        if unknown:
            raise Unusable(f"{PREFIX}{unknown[0].upper()}: there is no such setting; {', '.join(cls.__slots__)}")
        found = cls(**{name: _read(name, text) for name, text in told.items()})  # type: ignore[arg-type]  # as _read reads
        if not (found.model or found.reranker):
            raise Unusable(
                f"{PREFIX}MODEL or {PREFIX}RERANKER must name a model: a repository of Hugging Face, or a folder"
            )
        for name, allowed in (("device", DEVICES), ("dtype", DTYPES)):
            if getattr(found, name) not in allowed:
                raise Unusable(f"{PREFIX}{name.upper()} must be one of {', '.join(allowed)}")
        return found


def _read(name: str, text: str) -> str | int | bool:
    """A value of the kind that its default is of. Raises Unusable."""
    kind = Settings.__annotations__[name]
    if kind == "str":
        return text.strip()
    if kind == "bool":
        if text.lower() not in {"0", "1", "false", "true"}:
            raise Unusable(f"{PREFIX}{name.upper()} must be true or false")
        return text.lower() in {"1", "true"}
    least = 0 if name == "max_length" else 1
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= least):  # noqa: PLR2004
        raise Unusable(f"{PREFIX}{name.upper()} must be a whole number from {least} on")
    return int(text)

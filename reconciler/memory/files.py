"""What is known of a model's folder: its small JSON files, and the names and sizes of the others.

Pure. JSON from the outside may hold anything: every value is read through `whole`, `text` or `table`, which give
nothing instead of an exception where it is not what it should be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MOST: Final = 2**50  # no count or size in a config is larger; what is, is a mistake

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One model's folder as far as it was read. A file that is missing is an empty map; `sizes` in bytes."""

    repository: str = ""  # owner/name
    config: Json = field(default_factory=dict)  # config.json
    generation: Json = field(default_factory=dict)  # generation_config.json
    tokenizer: Json = field(default_factory=dict)  # tokenizer_config.json
    quantization: Json = field(default_factory=dict)  # hf_quant_config.json or quantize_config.json
    index: Json = field(default_factory=dict)  # model.safetensors.index.json
    gguf: Json = field(default_factory=dict)  # the key-value metadata of a GGUF file
    sizes: Mapping[str, int] = field(default_factory=dict)  # path inside the folder -> bytes

    def named(self, *endings: str) -> dict[str, int]:
        """The files whose path ends like this, whatever the case."""
        return {name: size for name, size in self.sizes.items() if name.lower().endswith(endings)}


def whole(source: Json, *keys: str) -> int | None:
    """The first of these keys that holds a whole number from 0 to 2**50; None if none does."""
    for key in keys:
        value = source.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST:
            return value
    return None


def fraction(source: Json, *keys: str) -> float | None:
    """The first of these keys that holds a number above 0 and up to 1 (text is read as a number)."""
    for key in keys:
        value = source.get(key)
        if isinstance(value, str) and re.fullmatch(r"\d{0,4}\.?\d{1,9}", value):
            value = float(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1:
            return float(value)
    return None


def text(source: Json, *keys: str) -> str:
    """The first of these keys that holds text; empty if none does."""
    return next((value for key in keys if isinstance(value := source.get(key), str)), "")


def table(source: Json, *keys: str) -> Json:
    """The first of these keys that holds a map; empty if none does."""
    return next((value for key in keys if isinstance(value := source.get(key), Mapping)), {})


def words(source: Json, key: str) -> tuple[str, ...]:
    """The text items of a list."""
    return tuple(item for item in _items(source.get(key)) if isinstance(item, str))


def numbers(source: Json, key: str) -> tuple[int, ...]:
    """The whole numbers of a list."""
    return tuple(item for item in _items(source.get(key)) if isinstance(item, int) and not isinstance(item, bool))


def language_config(config: Json) -> Json:
    """The part of a config.json that describes the language model: nested in one that also sees or hears."""
    inner = table(config, "text_config", "llm_config", "language_config")
    thinker = table(config, "thinker_config")
    inner = inner or table(thinker, "text_config")
    return {**config, **inner} if inner else config


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()

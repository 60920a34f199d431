"""A command from a recipe's defaults alone, as sparkrun makes one where the recipe has no template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reconciler.importers.engines import NEGATED, STRUCTURED, SWITCHES
from reconciler.importers.templates import written
from reconciler.shell import quote

_TRUE: Final = frozenset({"1", "true", "yes", "on"})

_ON: Final = {"mmap": "--no-mmap", "webui": "--no-webui"}  # llama.cpp has them on; sparkrun turns mmap off on a Spark


def command_line(engine: str, model: str, defaults: Mapping[str, Any]) -> tuple[str, set[str]]:
    """The line, and the defaults that went into it. Text stays open to the splitting of words, as it is there."""
    start = {
        "vllm": ["vllm", "serve", quote(model)],
        "sglang": ["sglang", "serve", "--model-path", quote(model)],
        "trtllm": ["trtllm-serve", quote(model)],
        "llamacpp": ["llama-server", "-m" if model.lower().endswith(".gguf") else "-hf", quote(model)],
    }
    words, used = list(start[engine]), set[str]()
    if engine == "trtllm" and not defaults.get("backend"):
        words += ["--backend", "pytorch"]
    if engine == "llamacpp":
        defaults = {"split_mode": "layer", "mmap": False, **defaults}
        used |= {key for key in _ON if key in defaults}
        words += [flag for key, flag in _ON.items() if str(defaults.get(key, True)).lower() not in _TRUE]
    for key, flag in STRUCTURED[engine].items():
        if (value := defaults.get(key)) is not None:
            used.add(key)
            words += _option(key, flag, value)
    return " ".join(words), used


def _option(key: str, flag: str, value: Any) -> list[str]:
    if key in SWITCHES:
        on = value if isinstance(value, bool) else str(value).lower() in _TRUE
        negated = [f"--no-{flag.removeprefix('--')}"] if key in NEGATED else []
        return [flag] if on else negated
    if key == "flash_attn" and isinstance(value, bool):
        return [flag, "on" if value else "off"]
    text = written(value)
    literal = isinstance(value, dict | list) or text.strip()[:1] in {"{", "["}
    return [flag, quote(text) if literal else text]

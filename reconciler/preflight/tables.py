"""What an engine's command line takes: its flags as data, from a real parser or from an image's own help.

The tables beside this file (`vllm_flags.json`, ...) are made by `tests/tools/engine_flags.py` from the engines
themselves; each says which version and where from. Names stand without their dashes, as in a recipe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

Kind = Literal["switch", "value", "text", "integer", "number", "size", "json", "list", "optional"]
KINDS: Final = ("switch", "value", "text", "integer", "number", "size", "json", "list", "optional")
ONE_AND_THE_SAME: Final = frozenset({"vllm", "llamacpp"})  # engines that read max_model_len as max-model-len
SHIPPED: Final = ("vllm", "sglang", "trtllm", "llamacpp")
TITLES: Final = {"vllm": "vLLM", "sglang": "SGLang", "trtllm": "TensorRT-LLM", "llamacpp": "llama.cpp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag. `value` is a value of a type that is not known (a help text does not say), `text` any text.

    `size` is a whole number that may end in k, m or g, or the word auto; `optional` may stand with or without a
    value. With `opened_by`, further values than `choices` are possible as soon as that other flag is given.
    """

    name: str
    kind: Kind
    also: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    negatable: bool = False
    opened_by: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """All flags of one engine in one version, by name."""

    engine: str
    version: str
    origin: str
    flags: Mapping[str, Flag]

    def same(self, name: str) -> str:
        """The spelling under which two names are the same flag to this engine."""
        return name.replace("_", "-") if self.engine in ONE_AND_THE_SAME else name

    def find(self, name: str) -> Flag | None:
        """The flag of this long name, or of its `no-` form; None if there is none."""
        return self._names().get(self.same(name))

    def negates(self, name: str) -> bool:
        """Whether the name is the `no-` form of a flag."""
        flag = self.find(name)
        return flag is not None and self.same(name) not in {self.same(n) for n in (flag.name, *flag.also)}

    def only_short(self, name: str) -> Flag | None:
        """The flag that has this name with one dash only, such as vLLM's -tp."""
        return next((flag for flag in self.flags.values() if name in flag.short), None)

    def names(self) -> tuple[str, ...]:
        """Every long name, for suggestions."""
        return tuple(self._names())

    def _names(self) -> dict[str, Flag]:
        return _by_name(self)

    def __hash__(self) -> int:
        """By identity: a table is made once and looked at often."""
        return id(self)


@cache
def _by_name(table: Table) -> dict[str, Flag]:
    known: dict[str, Flag] = {}
    for flag in table.flags.values():
        for name in (flag.name, *flag.also):
            known[table.same(name)] = flag
            if flag.negatable:
                known.setdefault(table.same(_negated(name, table)), flag)
    return known


def _negated(name: str, table: Table) -> str:
    return f"no-{name}" if table.engine in ONE_AND_THE_SAME or "_" not in name else f"no_{name}"


def to_json(table: Table) -> str:
    """The table as it is shipped: one flag a line, in the order of the alphabet."""
    lines = [f"  {json.dumps(name)}: {json.dumps(_written(table.flags[name]))}" for name in sorted(table.flags)]
    head = {"engine": table.engine, "version": table.version, "origin": table.origin}
    top = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
    return "{\n" + top + ' "flags": {\n' + ",\n".join(lines) + "\n }\n}\n"


def from_json(text: str) -> Table:
    """The table that `to_json` wrote. Raises ValueError or KeyError for anything else."""
    data = json.loads(text)
    flags = {name: _read(name, entry) for name, entry in data["flags"].items()}
    return Table(data["engine"], data["version"], data["origin"], flags)


def _written(flag: Flag) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": flag.kind}
    for key, value in (("also", flag.also), ("short", flag.short), ("choices", flag.choices)):
        if value:
            entry[key] = list(value)
    if flag.negatable:
        entry["negatable"] = True
    if flag.opened_by:
        entry["openedBy"] = flag.opened_by
    return entry


def _read(name: str, entry: Mapping[str, Any]) -> Flag:
    if entry["kind"] not in KINDS:
        raise ValueError(f"{name}: {entry['kind']} is not a kind of flag")
    return Flag(
        name=name,
        kind=entry["kind"],
        also=tuple(entry.get("also", ())),
        short=tuple(entry.get("short", ())),
        choices=tuple(entry.get("choices", ())),
        negatable=bool(entry.get("negatable", False)),
        opened_by=entry.get("openedBy"),
    )


@cache
def shipped(engine: str) -> Table | None:
    """The table that ships for this engine; None for one that has none (`nim`, `container`)."""
    if engine not in SHIPPED:
        return None
    return from_json((files(__package__) / f"{engine}_flags.json").read_text(encoding="utf-8"))

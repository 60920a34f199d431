"""A recipe's flags against what is known of the engine's command line: what is wrong, in words.

Pure. What the image itself says is certain and may hold a launch back. The shipped tables are of one version and
images are of many: what they do not know is worth a sentence, never a refusal. Values mean what `launch` makes of
them: true is a bare flag, false and null leave it out, a map becomes JSON, a list several arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from pydantic import JsonValue

from reconciler.preflight.tables import TITLES, Flag, Table
from reconciler.preflight.values import mistake, number, outside, shown, text_of
from state.engines import DERIVED, active, spelling

ABBREVIATES: Final = frozenset({"vllm", "sglang"})  # argparse takes the beginning of a name for the name
REPEATS: Final = frozenset({"trtllm", "llamacpp"})  # their launchers give a list as one flag several times

FRACTIONS: Final = {
    "vllm": ("gpu-memory-utilization", "device-memory-utilization"),
    "sglang": ("mem-fraction-static",),
    "trtllm": ("free_gpu_memory_fraction", "kv_cache_free_gpu_memory_fraction"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one flag. `certain`: the engine will refuse to start with it."""

    flag: str
    message: str
    certain: bool


def check(
    engine: str,
    flags: Mapping[str, JsonValue],
    image: Table | None,
    known: Table | None,
    *,
    patched: bool = False,
) -> tuple[Finding, ...]:
    """What is wrong with these flags, in their order.

    `image` is what the image's own help says, if it was asked; `known` a table of another version, such as the one
    that ships. `patched`: mods change the program before it starts, so the image's word is not certain either.
    """
    given = active(flags)
    found = [*_twice(given, image, known), *_switched_off(flags, image or known)]
    for name, value in given.items():
        instead = DERIVED.get(engine, {}).get(spelling(name))
        if instead is not None:
            found.append(Finding(name, f"`{name}` is set by sparkkeep; {instead}", certain=True))
            continue
        found += _fraction(engine, name, value)
        found += _against_tables(name, value, given, image, known, certain=not patched)
    return tuple(found)


def _against_tables(
    name: str,
    value: JsonValue,
    flags: Mapping[str, JsonValue],
    image: Table | None,
    known: Table | None,
    *,
    certain: bool,
) -> Iterator[Finding]:
    if image is not None:
        yield from _look(name, value, flags, image, certain=certain)
    if known is None:
        return
    flag = image.find(name) if image is not None else None
    if image is None:
        yield from _look(name, value, flags, known, certain=False)
    elif flag is not None and flag.kind == "value" and not flag.choices and (typed := known.find(name)) is not None:
        yield from _value(name, value, typed, flags, known, certain=False)


def _look(
    name: str, value: JsonValue, flags: Mapping[str, JsonValue], table: Table, *, certain: bool
) -> Iterator[Finding]:
    flag = table.find(name)
    if flag is None:
        if not _inside_json(name, table):
            yield _unknown(name, table, certain=certain)
        return
    yield from _value(name, value, flag, flags, table, certain=certain)


def _inside_json(name: str, table: Table) -> bool:
    """Whether it is a key of a flag's JSON: vLLM takes `--compilation-config.mode 3` for that."""
    base, dot, _ = name.partition(".")
    flag = table.find(base) if dot and table.engine == "vllm" else None
    return flag is not None and flag.kind in {"json", "value", "text"}


def _unknown(name: str, table: Table, *, certain: bool) -> Finding:
    says, spelled = _knower(table), table.same(name)
    other = name.replace("_", "-") if "_" in name else name.replace("-", "_")
    short = table.only_short(name)
    longer = [each for each in table.names() if each.startswith(spelled)]
    if table.find(other) is not None:
        return Finding(name, f"`{name}`: {says} spells it `{other}`", certain)
    if short is not None:
        return Finding(name, f"`{name}`: {says} knows it with one dash only; write `{short.name}`", certain)
    if len(longer) == 1 and table.engine in ABBREVIATES:
        return Finding(name, f"`{name}` is short for `{longer[0]}`: write it in full", certain=False)
    close = get_close_matches(spelled, table.names(), n=1, cutoff=0.75)
    guess = f"; did you mean `{close[0]}`?" if close else ""
    doubt = " The image may be another version, or a build of its own" if table.version else ""
    if doubt and not guess:
        guess = "."
    return Finding(name, f"`{name}`: {says} knows no such flag{guess}{doubt}", certain)


def _knower(table: Table) -> str:
    title = TITLES.get(table.engine, table.engine)
    return f"{title} {table.version}" if table.version else f"the image's {title}"


def _value(
    name: str,
    value: JsonValue,
    flag: Flag,
    flags: Mapping[str, JsonValue],
    table: Table,
    *,
    certain: bool,
) -> Iterator[Finding]:
    words = mistake(value, flag, negation=table.negates(name), several=table.engine in REPEATS)
    if words is None and not (flag.opened_by and any(table.same(key) == flag.opened_by for key in flags)):
        words = outside(value, flag)
        if words is not None and table.version:
            words += f" ({_knower(table)})"
    if words is not None:
        yield Finding(name, f"`{name}`: {words}", certain)


def _switched_off(flags: Mapping[str, JsonValue], table: Table | None) -> Iterator[Finding]:
    """`false` reads like off, but the engine's own default holds."""
    for name, value in flags.items():
        flag = table.find(name) if table is not None and value is False else None
        if flag is not None and table is not None and flag.negatable and not table.negates(name):
            off = f"`no-{flag.name}: true` switches it off"
            yield Finding(name, f"`{name}: false` only leaves the flag out; {off}", certain=False)


def _fraction(engine: str, name: str, value: JsonValue) -> Iterator[Finding]:
    spelled = name.replace("_", "-") if engine == "vllm" else name
    if spelled in FRACTIONS.get(engine, ()):
        share = number(text_of(value))
        if share is not None and not 0 < share <= 1:
            yield Finding(name, f"`{name}`: {shown(value)} is outside 0..1 (a share of the memory)", certain=True)


def _twice(flags: Mapping[str, JsonValue], image: Table | None, known: Table | None) -> Iterator[Finding]:
    """One flag under two names. Which one wins is a matter of their order, and that means nothing in a recipe."""
    first: dict[str, str] = {}
    for name in flags:
        table = next((each for each in (image, known) if each is not None and each.find(name) is not None), None)
        flag = table.find(name) if table is not None else None
        key = flag.name if flag is not None else _same(name, image or known)
        other = first.setdefault(key, name)
        if other != name:
            alike = _same(name, image or known) == _same(other, image or known)
            certain = alike or (table is not None and table is image)
            yield Finding(name, f"`{name}` and `{other}` are the same flag: keep one", certain)


def _same(name: str, table: Table | None) -> str:
    return table.same(name) if table is not None else name

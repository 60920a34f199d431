"""Reading an engine's own `--help`: the printed page back into a table of flags.

Pure. Three printers are read: Python's argparse (vLLM, SGLang), click (TensorRT-LLM) and llama.cpp's own. A page
says which names a flag has, whether it takes a value, and often which values; it does not say of what type they
are, so those flags have the kind `value`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from reconciler.preflight.tables import Flag, Kind, Table

FEWEST: Final = 20  # a page with fewer flags is a summary or an error message, not the engine's command line
LLAMA_COLUMN: Final = 40  # where llama.cpp begins its explanations
MAX_PAGE: Final = 4 * 2**20  # characters; vLLM's page has 155,000
CLICK_KINDS: Final[dict[str, Kind]] = {"INTEGER": "integer", "FLOAT": "number"}

_HEADER: Final = re.compile(r"^(?:  )?(--?[A-Za-z0-9].*)$")
_NAME: Final = re.compile(r"(?:^|, )(--?[A-Za-z0-9][A-Za-z0-9_.-]*)")
_BRACED: Final = re.compile(r"^\[?\{([^{}]*)\}")
_BARRED: Final = re.compile(r"^[\[<]([A-Za-z0-9_.+-]+(?:\|[A-Za-z0-9_.+-]+)+)[\]>]$")
_PLUGIN: Final = re.compile(r" or name registered in --([a-z-]+)")
_REPEATED: Final = re.compile(r"\.\.\.\]+$")
_BRACKETED: Final = re.compile(r"^\[[^\s,\[\]]+\]$")
_TWO_WORDS: Final = re.compile(r"^[A-Z]+ [A-Z]+$")


def read(engine: str, page: str) -> Table | None:
    """The flags that a help page shows, or None where it is no such page."""
    found: dict[str, Flag] = {}
    for header in _headers(engine, page[:MAX_PAGE]):
        flag = _flag(engine, header)
        if flag is not None:
            found[flag.name] = flag
    if len(found) < FEWEST:
        return None
    return Table(engine, "", "the image's own --help", found)


def _headers(engine: str, page: str) -> Iterator[str]:
    """The left column: names and metavars of one flag each."""
    for line in page.splitlines():
        match = _HEADER.match(line.rstrip())
        if match is None:
            continue
        text = match[1]
        if engine == "llamacpp":
            explained = len(line) > LLAMA_COLUMN and line[LLAMA_COLUMN - 1] == " " != line[LLAMA_COLUMN]
            yield re.sub(r",\s+-", ", -", line[:LLAMA_COLUMN].rstrip() if explained else text)
        else:
            yield text.split("  ", 1)[0].replace(" / --", ", --")


def _flag(engine: str, header: str) -> Flag | None:
    names = list(_NAME.finditer(header))
    if not names:
        return None
    metavar = header[names[-1].end() :].lstrip(" =")
    long = [match[1][2:] for match in names if match[1].startswith("--")]
    plain = [name for name in long if not _is_negation(name, long)]
    if not plain:
        return None
    choices = _choices(engine, metavar)
    plugin = _PLUGIN.search(metavar)
    return Flag(
        name=plain[0],
        kind=_kind(engine, metavar),
        also=tuple(plain[1:]),
        short=tuple(match[1][1:] for match in names if not match[1].startswith("--")),
        choices=choices,
        negatable=len(plain) < len(long),
        opened_by=plugin[1] if plugin else None,
    )


def _is_negation(name: str, names: list[str]) -> bool:
    return name.startswith(("no-", "no_")) and name[3:] in names


def _choices(engine: str, metavar: str) -> tuple[str, ...]:
    braced = _BRACED.match(metavar)
    if braced:
        return tuple(part.strip() for part in braced[1].split(","))
    barred = _BARRED.match(metavar)
    return tuple(barred[1].split("|")) if barred and engine in {"trtllm", "llamacpp"} else ()


def _kind(engine: str, metavar: str) -> Kind:
    if not metavar:
        return "switch"
    if _REPEATED.search(metavar) or (engine == "llamacpp" and _TWO_WORDS.match(metavar)):
        return "list"
    if engine == "trtllm":
        return CLICK_KINDS.get(metavar.partition(" ")[0], "value")
    if _BRACKETED.match(metavar) and engine != "llamacpp":
        return "optional"
    return "value"

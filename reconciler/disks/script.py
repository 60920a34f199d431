r"""The shell script of a survey. Pure: text out.

It travels on standard input of `sh` and uses only what dash, GNU and busybox have in common: no `find -printf`, no
`stat --printf`, one `-exec ... {} +` per `find`. File names may hold anything but a slash and NUL, so a name never
holds `//`, and `//` is what separates; contents go as base64 without its slash, cut by their
sizes. Each part stands between sentinel lines with a nonce, as in `reconciler.facts`, and each part and the whole are
bounded in length.

What matters is asked of the files and not of their names: `stat -L` of a link tells the inode that it leads to, so a
blob counts once and a link that dangles is seen as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from reconciler.disks.where import Layout, Place
from reconciler.facts import end_mark
from reconciler.shell import quote

LISTING: Final = 3_000_000  # bytes of one list of files; 200 models of 50 files take less
SHORT: Final = 200_000  # bytes of one list of things that are wrong
TEXTS: Final = 3_000_000  # bytes of the small files of one place
WHOLE: Final = 7_500_000  # bytes of an answer; `reconciler.sessions` stops a command at 8 MiB
TEXT: Final = 262_144  # bytes of one small file; a larger one is not read
SEARCH: Final = 20  # seconds; `grep -o` is slow in a file of one very long line
LEAD: Final = 2**26  # bytes of an index; a larger one is not searched
READ: Final = (
    "config.json",
    "generation_config.json",
    "hf_quant_config.json",
    "quantize_config.json",
    "adapter_config.json",
    "modules.json",
    "params.json",
)
PICKED: Final = ("*.index.json", "tokenizer_config.json")
PATTERN: Final = (
    '"[A-Za-z0-9_.-]*[.]safetensors"|"[A-Za-z0-9_.-]*[.]bin"|"total_size": *[0-9]+|"chat_template"'
    '|"model_max_length": *[0-9]+|"tokenizer_class": *"[A-Za-z0-9_.]+"'
)
ABSENT: Final = 4  # exit status of a part whose folder is not there
CLOSED: Final = 5  # ... can't be entered

# `.` is kept, `.no_exist` is passed over, and beside models--* nothing in a hub is gone into.
WITHIN: Final = r"\( -name . -o -name .no_exist -prune -o -path './*/*' -o -name 'models--*' -o -prune \)"
FACTS: Final = "%n//%f %s %Y %d:%i//"
GGUFS: Final = r"\( -name '.?*' -prune -o -name 'models--*' -prune -o -name '*.gguf' -o -name '*.gguf.*' \)"
SMALL: Final = f"-maxdepth 4 {WITHIN} -path './models--*/snapshots/*/*'"


def _all(body: str, end: int) -> str:
    """Run `body` in a shell of its own for the paths "$@" that a `find` has found; `end` in bytes."""
    return f"-exec sh -c '{body}' sh {{}} + | head -c {end}"


def _each(body: str, end: int) -> str:
    """Run `body` for every such path `$f`."""
    return _all(f'for f in "$@"; do {body}; done', end)


def _named(names: Iterable[str]) -> str:
    return r"\( " + " -o ".join(f"-name '{name}'" for name in names) + r" \)"


DANGLES: Final = _each(r'[ -e "$f" ] || printf "%s//\n" "$f"', SHORT)
SHUT: Final = _each(r'if [ -r "$f" ] && [ -x "$f" ]; then :; else printf "%s//\n" "$f"; fi', SHORT)
# Many files by a handful of processes: first the names and sizes of those that can be read, then all of them in one.
GATHER: Final = (
    'n=$#; for f in "$@"; do [ -r "$f" ] && set -- "$@" "$f"; done; shift "$n"; [ "$#" -gt 0 ] || exit 0; '
    'stat -L -c "%n//%s//" "$@"; printf "=//"; cat "$@" | base64 | tr / _; printf "//\\n"'
)
FUNCTIONS: Final = rf"""LC_ALL=C; export LC_ALL
s() {{ n=$1; shift; printf '\n=%s %s\n' "$nonce" "$n"; "$@" 2>/dev/null; printf '\n=%s %s %s\n' "$nonce" "$n" "$?"; }}
inside() ( [ -e "$1" ] || exit {ABSENT}; cd "$1" || exit {CLOSED}; shift; "$@" )
where() (
d=$1; until [ -e "$d" ]; do d=$(dirname "$d"); done
if [ "$d" != "$1" ]; then [ -x "$d" ] && exit {ABSENT}; exit {CLOSED}; fi
cd "$1" || exit {CLOSED}; printf '%s//' "$(pwd -P)"; stat -c '%d:%i//' .
)
entries() {{ find . -maxdepth 9 {WITHIN} ! -type l -exec stat -c '{FACTS}' {{}} + | head -c {LISTING}; }}
links() {{ find . -maxdepth 9 {WITHIN} -type l -exec stat -L -c '{FACTS}' {{}} + | head -c {LISTING}; }}
dangling() {{ find . -maxdepth 9 {WITHIN} -type l {DANGLES}; }}
closed() {{ find . -maxdepth 9 {WITHIN} -type d {SHUT}; }}
refs() {{ find . -maxdepth 6 {WITHIN} -path './models--*/refs/*' -type f -size -4096c {_all(GATHER, SHORT)}; }}
texts() {{ find -L . {SMALL} {_named(READ)} -type f -size -{TEXT + 1}c {_all(GATHER, TEXTS)}; }}
picked() {{ find -L . {SMALL} {_named(PICKED)} -type f -size -{LEAD}c \
-exec timeout {SEARCH} grep -HoE "$pattern" {{}} + |
uniq | sort -u | head -c {TEXTS}; }}
ggufs() {{ find . -maxdepth 6 {GGUFS} ! -type d -exec stat -L -c '{FACTS}' {{}} + | head -c {LISTING}; }}
"""
PARTS: Final = {
    Layout.GGUF: ("where", "ggufs"),
    **dict.fromkeys((Layout.HUB, Layout.FLAT, Layout.NIM), ("where", "entries", "links", "dangling", "closed", "refs")),
}
CONTENTS: Final = ("texts", "picked")  # asked last: what is cut off first


def script(nonce: str, places: Sequence[Place]) -> str:
    """The script that looks into these places, each under its number. `nonce` must be unguessable."""
    listed = [_ask(part, at, place) for at, place in enumerate(places) for part in PARTS[place.layout]]
    contents = [
        _ask(part, at, place)
        for at, place in enumerate(places)
        if place.layout in {Layout.HUB, Layout.FLAT}
        for part in CONTENTS
    ]
    head = f"nonce={quote(nonce)}; pattern={quote(PATTERN)}\n{FUNCTIONS}"
    body = "\n".join(("s clock date +%s", *listed, *contents))
    return f"{head}{{\n{body}\n}} </dev/null | head -c {WHOLE}\nprintf '\\n%s\\n' {quote(end_mark(nonce).rstrip())}"


def _ask(part: str, number: int, place: Place) -> str:
    asked = f"where {_path(place)}" if part == "where" else f"inside {_path(place)} {part}"
    return f"s {part}{number} {asked}"


def _path(place: Place) -> str:
    return '"${HF_HOME:-/nonexistent}/hub"' if place.path is None else quote(place.path)

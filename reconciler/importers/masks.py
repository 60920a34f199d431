"""What looks like a secret, and how it is taken out of variables and arguments before anybody sees them.

Pure. Names tell most of them (`HF_TOKEN`, `--api-key`), the form of the value some (`hf_...`, a password inside an
address). The mask itself has the form of a key, so that whoever reads it takes it for a secret again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

MASKED: Final = "sk-masked-by-sparkkeep"
_NAME: Final = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|SECRET_KEY_BASE)$"
    r"|(^|_)(ACCESS_?KEY|JWT)$|[A-Z0-9](?<!PUBLIC)_(KEY|PWD|PASS)$|^PGPASS$",
    re.IGNORECASE,
)
_VALUE: Final = re.compile(
    r"^(hf_[A-Za-z0-9]{8,}|nvapi-\S{8,}|sk-\S{8,}|gh[pousr]_\S{8,}|github_pat_\S{8,}|glpat-\S{8,}|AKIA[0-9A-Z]{16}"
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*)$"
    r"|://[^/\s:@]*:[^/\s@]+@|\b[Bb]earer\s+\S"
)
_SETTING: Final = re.compile(r"(-{0,2}[A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_PAIR: Final = re.compile(r'("([\w.-]{1,64})"\s*:\s*)"((?:[^"\\]|\\.)*)"')  # of a JSON object
_WORD: Final = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*'|["'])+""")  # of a shell's line
_MARK: Final = re.compile(r"[;&|<>()\\\\]+")  # between a shell's commands
_QUOTED: Final = re.compile(r""""[^"]*"|'[^']*'""")


def is_secret(name: str, value: str) -> bool:
    """Whether a variable looks like a key, a token or a password."""
    return bool(_NAME.search(name) or _VALUE.search(value))


def variable_masked(entry: str) -> str:
    """`NAME=value`, the value replaced if it is a secret or holds one."""
    name, _, value = entry.partition("=")
    hidden = value and (is_secret(name, value) or _word(value) != value)
    return f"{name}={MASKED}" if hidden else entry


def arguments_masked(words: Iterable[object]) -> Iterator[str]:
    """`--api-key X`, `--api-key=X`, `-e TOKEN=X`, the same inside a shell's line, and what looks like a key itself."""
    before = ""
    for word in map(str, words):
        flag = word.startswith("-")
        if _MARK.fullmatch(word):
            before = ""
        yield MASKED if before and not flag else _word(word)
        if flag:
            name = _plain(word)
            before = name if _NAME.search(name) else ""
        elif not before.endswith("api_key"):  # which takes several
            before = ""


def _word(word: str) -> str:
    """One argument; of `NAME=value` the name stays."""
    word = _PAIR.sub(_pair, word)
    found = _SETTING.fullmatch(word)
    if found is not None and is_secret(_plain(found[1]), ""):
        return f"{found[1]}={MASKED}" if found[2] else word
    if re.search(r"\s", word):
        line = _line(word)
        return MASKED if is_secret("", line) else line
    if found is None:
        return MASKED if is_secret("", word) else word
    inner = _SETTING.fullmatch(found[2])  # --env=NAME=value
    if inner is not None and is_secret(_plain(inner[1]), inner[2]):
        return f"{found[1]}={inner[1]}={MASKED}"
    return f"{found[1]}={MASKED}" if is_secret("", found[2]) else word


def _line(text: str) -> str:
    """A shell's line, word by word."""
    words = [found[0] for found in _WORD.finditer(text)]
    if words == [text]:
        return text
    bare = [word[1:-1] if _QUOTED.fullmatch(word) else word for word in words]
    masked = zip(words, bare, arguments_masked(bare), strict=True)

    def one(_: re.Match[str]) -> str:
        written, plain, left = next(masked)
        if left == plain:
            return written
        return left if left == MASKED or written == plain else f"{written[0]}{left}{written[0]}"

    return _WORD.sub(one, text)


def _pair(found: re.Match[str]) -> str:
    return f'{found[1]}"{MASKED}"' if found[3] and is_secret(_plain(found[2]), found[3]) else found[0]


def _plain(name: str) -> str:
    """A flag's or key's name as a variable has it."""
    return re.sub(r"[-.]", "_", name.lstrip("-"))

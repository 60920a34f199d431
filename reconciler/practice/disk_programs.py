"""The programs with which a disk is looked at on a practice Spark: find, stat, head, base64, grep, sort and their like.

They know what scripts of ours use, and do with it what GNU's do under LC_ALL=C; the rest is refused in words.
`tests/practice/test_disks.py` asks them and the real ones the same things.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from reconciler.practice.disk_find import find

if TYPE_CHECKING:
    from reconciler.practice.files import Files
    from reconciler.practice.shell_io import Io
    from reconciler.practice.shell_run import Shell, Tool

DEVICE: Final = 2049
FORMATS: Final = {0o040000: "directory", 0o120000: "symbolic link", 0o100000: "regular file"}


def _refuse(io: Io, program: str, word: str) -> int:
    io.error(f"{program}: practice: `{word}` is not known here\n")
    return 2


def _inode(path: str) -> int:
    return int(hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:8], 16)


def _stat_line(files: Files, path: str, shown: str, form: str) -> str:
    """One file in stat's own format. Raises OSError if it is not there."""
    kind, size, changed = files.stat(path)
    mode = kind | (files.modes.get(path, 0o755 if kind == files.FOLDER else 0o644) if kind != files.LINK else 0o777)
    values = {
        "n": shown,
        "s": str(size),
        "f": f"{mode:x}",
        "a": f"{mode & 0o7777:o}",
        "Y": str(int(changed)),
        "d": str(DEVICE),
        "i": str(_inode(path)),
        "F": FORMATS[kind],
        "%": "%",
    }
    return re.sub(r"%([nsfaYdiF%])", lambda match: values[match[1]], form)


async def _stat(shell: Shell, argv: list[str], io: Io) -> int:
    """`stat [-L] -c FORMAT FILE...`."""
    words, follow, form = argv[1:], False, ""
    while words and words[0].startswith("-") and len(words[0]) > 1:
        option = words.pop(0)
        if option == "-L":
            follow = True
        elif option == "-c" and words:
            form = words.pop(0)
        elif option == "--":
            break
        else:
            return _refuse(io, "stat", option)
    status = 0
    for word in words:
        path = shell.files.normal(word, shell.folder)
        try:
            path = shell.files.real(path) if follow else shell.files.real(path, last=False)
            io.out(_stat_line(shell.files, path, word, form) + "\n")
        except OSError as error:
            io.error(f"stat: cannot statx '{word}': {error.strerror}\n")
            status = 1
    return status


async def _readlink(shell: Shell, argv: list[str], io: Io) -> int:
    """`readlink [-f] FILE`: where a link leads; with `-f` the real path."""
    path = shell.files.normal(argv[-1], shell.folder)
    try:
        if "-f" in argv[1:-1]:
            io.out(shell.files.real(path) + "\n")
        else:
            io.out(shell.files.links[shell.files.real(path, last=False)] + "\n")
    except (OSError, KeyError):
        return 1
    return 0


async def _inputs(shell: Shell, program: str, words: list[str], io: Io) -> tuple[bytes, int]:
    """The files named, one after the other, or standard input; and the exit status so far."""
    data, status = b"", 0
    for word in words or ["-"]:
        try:
            path = shell.files.normal(word, shell.folder)
            data += await io.stdin.read() if word == "-" else shell.files.read(path)
        except OSError as error:
            said = f"cannot open '{word}' for reading" if program == "head" else word
            io.error(f"{program}: {said}: {error.strerror}\n")
            status = 1
    return data, status


async def _head(shell: Shell, argv: list[str], io: Io) -> int:
    """`head -c BYTES` or `head -n LINES`."""
    match argv[1:]:
        case ["-c" | "-n" as option, count, *words] if count.isdecimal():
            data, status = await _inputs(shell, "head", words, io)
            lines = data.splitlines(keepends=True) if option == "-n" else []
            io.stdout.write(data[: int(count)] if option == "-c" else b"".join(lines[: int(count)]))
            return status
    return _refuse(io, "head", " ".join(argv[1:]))


async def _base64(shell: Shell, argv: list[str], io: Io) -> int:
    """`base64 [-d] [FILE]`, in lines of 76."""
    words = [word for word in argv[1:] if word not in {"-d", "--decode"}]
    if any(word.startswith("-") and word != "-" for word in words):
        return _refuse(io, "base64", " ".join(words))
    data, status = await _inputs(shell, "base64", words, io)
    if len(words) == len(argv) - 1:
        io.stdout.write(base64.encodebytes(data))
        return status
    try:
        io.stdout.write(base64.b64decode(b"".join(data.split(b"\n")), validate=True))
    except ValueError:
        io.error("base64: invalid input\n")
        return 1
    return status


async def _tr(_shell: Shell, argv: list[str], io: Io) -> int:
    """`tr ONE OTHER` or `tr -d ONE`, with single characters and no ranges."""
    match argv[1:]:
        case ["-d", gone] if gone.isalnum() or len(gone) == 1:
            io.stdout.write((await io.stdin.read()).translate(None, gone.encode()))
        case [one, other] if len(one.encode()) == len(other.encode()) == 1:
            io.stdout.write((await io.stdin.read()).replace(one.encode(), other.encode()))
        case _:
            return _refuse(io, "tr", " ".join(argv[1:]))
    return 0


async def _grep(shell: Shell, argv: list[str], io: Io) -> int:
    """`grep -[H]oE PATTERN [FILE]...`: what matches, one a line. A file with NUL is binary and only said to match."""
    match argv[1:]:
        case ["-oE" | "-HoE" as option, pattern, *words]:
            words = words or ["-"]
        case _:
            return _refuse(io, "grep", " ".join(argv[1:]))
    status, any_found = 0, False
    for word in words:
        data, failed = await _inputs(shell, "grep", [word], io)
        status = max(status, failed)
        shown = "(standard input)" if word == "-" else word
        found = [m[0] for line in data.split(b"\n") for m in re.finditer(pattern.encode(), line) if m[0]]
        any_found = any_found or bool(found)
        if found and b"\0" in data:
            io.out(f"Binary file {shown} matches\n")
            continue
        before = f"{shown}:".encode() if option == "-HoE" or len(words) > 1 else b""
        io.stdout.write(b"".join(before + piece + b"\n" for piece in found))
    return 2 if status else int(not any_found)


async def _uniq(_shell: Shell, argv: list[str], io: Io) -> int:
    """`uniq`, without options."""
    if len(argv) > 1:
        return _refuse(io, "uniq", argv[1])
    lines = (await io.stdin.read()).splitlines(keepends=True)
    kept = [line for at, line in enumerate(lines) if at == 0 or line != lines[at - 1]]
    io.stdout.write(b"".join(kept))
    return 0


async def _sort(shell: Shell, argv: list[str], io: Io) -> int:
    """`sort [-u]`."""
    words = [word for word in argv[1:] if word != "-u"]
    data, status = await _inputs(shell, "sort", words, io)
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    io.stdout.write(b"".join(line + b"\n" for line in sorted(set(lines) if "-u" in argv else lines)))
    return status


async def _dirname(_shell: Shell, argv: list[str], io: Io) -> int:
    """`dirname PATH`."""
    kept = argv[-1].rstrip("/").rpartition("/")[0].rstrip("/")
    io.out((kept or ("/" if argv[-1].startswith("/") else ".")) + "\n")
    return 0


DISK_PROGRAMS: Final[Mapping[str, Tool]] = {
    "find": find,
    "stat": _stat,
    "readlink": _readlink,
    "head": _head,
    "base64": _base64,
    "tr": _tr,
    "grep": _grep,
    "sort": _sort,
    "uniq": _uniq,
    "dirname": _dirname,
}

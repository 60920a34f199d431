"""Expansion of words, and the commands that a shell has built in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from reconciler.practice.shell_io import Leave, Return
from reconciler.practice.shell_tree import Substitution, Text, Variable, Word

if TYPE_CHECKING:
    from reconciler.practice.shell_io import Io
    from reconciler.practice.shell_run import Shell, Tool

Piece = tuple[str, bool]  # text, and whether it may be split
BREAK: Final = "\0"  # no argument can hold it: marks the places where "$@" breaks


async def pieces(shell: Shell, word: Word, io: Io) -> list[Piece]:
    """A word's parts with everything put in."""
    found: list[Piece] = []
    for at, part in enumerate(word.parts):
        match part:
            case Text(text, quoted):
                if at == 0 and not quoted and re.match(r"~(/|$)", text):
                    text = shell.value("HOME") + text[1:]
                found.append((text, False))
            case Variable("@", True, _):
                found.append((BREAK.join(shell.arguments), False) if shell.arguments else (BREAK * 2, False))
            case Variable(name, quoted, otherwise):
                value = shell.value(name)
                if not value and otherwise is not None:
                    value = await shell.text(otherwise, io)
                found.append((value, not quoted))
            case Substitution(body, quoted):
                found.append((await shell.captured(body, io), not quoted))
    return found


def fields(found: list[Piece]) -> list[str]:
    """Split at blanks where a word may be split, and at the breaks of `"$@"`."""
    ready: list[str] = []
    current: str | None = None
    for text, splits in found:
        if text == BREAK * 2:
            continue
        parts = re.split(r"[ \t\n]+", text) if splits else text.split(BREAK)
        for at, part in enumerate(parts):
            if at > 0:
                if current is not None:
                    ready.append(current)
                current = None
            if part or not splits:
                current = (current or "") + part
    if current is not None:
        ready.append(current)
    return ready


def unescaped(text: str) -> str:
    r"""What printf's format and echo's arguments mean: `\n`, `\t`, `\\` and octal numbers."""
    known = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "v": "\v", '"': '"'}

    def one(match: re.Match[str]) -> str:
        return known[match[1]] if match[1] in known else chr(int(match[1], 8))

    return re.sub(r"\\([ntr\\abfv\"]|[0-7]{1,3})", one, text)


async def _echo(_shell: Shell, argv: list[str], io: Io) -> int:
    words, end = (argv[2:], "") if argv[1:2] == ["-n"] else (argv[1:], "\n")
    io.out(unescaped(" ".join(words)) + end)
    return 0


async def _printf(_shell: Shell, argv: list[str], io: Io) -> int:
    """`%s` and `%d` only; the format is used again while there are arguments."""
    if len(argv) < 2:  # noqa: PLR2004 - a format
        io.error("printf: usage: printf format [arg ...]\n")
        return 2
    rest = argv[2:]
    while True:
        used = len(rest)

        def put(match: re.Match[str]) -> str:
            if match[0] == "%%":
                return "%"
            return rest.pop(0) if rest else ""

        io.out(re.sub(r"%%|%[sd]", put, unescaped(argv[1])))
        if not rest or len(rest) == used:
            return 0


async def _true(_shell: Shell, _argv: list[str], _io: Io) -> int:
    return 0


async def _false(_shell: Shell, _argv: list[str], _io: Io) -> int:
    return 1


def _number(shell: Shell, argv: list[str]) -> int:
    return int(argv[1]) & 255 if len(argv) > 1 and argv[1].isdigit() else shell.status


async def _exit(shell: Shell, argv: list[str], _io: Io) -> int:
    raise Leave(_number(shell, argv))


async def _return(shell: Shell, argv: list[str], _io: Io) -> int:
    raise Return(_number(shell, argv))


async def _shift(shell: Shell, argv: list[str], _io: Io) -> int:
    count = int(argv[1]) if len(argv) > 1 else 1
    if count > len(shell.arguments):
        return 2
    shell.arguments = shell.arguments[count:]
    return 0


async def _export(shell: Shell, argv: list[str], _io: Io) -> int:
    for word in argv[1:]:
        name, equals, value = word.partition("=")
        if equals:
            shell.variables[name] = value
    return 0


async def _umask(shell: Shell, argv: list[str], io: Io) -> int:
    if len(argv) > 1:
        shell.umask = int(argv[1], 8)
    else:
        io.out(f"{shell.umask:04o}\n")
    return 0


async def _cd(shell: Shell, argv: list[str], io: Io) -> int:
    path = shell.files.normal(argv[1] if len(argv) > 1 else shell.value("HOME"), shell.folder)
    if path not in shell.files.folders:
        io.error(f"{shell.name}: 1: cd: can't cd to {argv[1]}\n")
        return 2
    shell.folder = path
    return 0


async def _pwd(shell: Shell, _argv: list[str], io: Io) -> int:
    io.out((shell.folder or shell.files.home) + "\n")
    return 0


async def _sleep(_shell: Shell, argv: list[str], io: Io) -> int:
    try:
        await asyncio.sleep(float(argv[1]) if argv[1] != "infinity" else 10**9)
    except (IndexError, ValueError):
        io.error("sleep: missing or invalid time interval\n")
        return 1
    return 0


async def _test(shell: Shell, argv: list[str], io: Io) -> int:
    """`[ ... ]` and `test`: the plain checks of strings, numbers and files."""
    words = argv[1:]
    if argv[0] == "[":
        if words[-1:] != ["]"]:
            io.error(f"{shell.name}: 1: [: missing ]\n")
            return 2
        words = words[:-1]
    negated = words[:1] == ["!"]
    held = _holds(shell, words[1:] if negated else words)
    if held is None:
        io.error(f"{shell.name}: 1: {argv[0]}: unexpected operator\n")
        return 2
    return int(held == negated)


def _holds(shell: Shell, words: list[str]) -> bool | None:  # noqa: C901 - one case for each operator
    match words:
        case []:
            return False
        case [text]:
            return bool(text)
        case ["-n", text]:
            return bool(text)
        case ["-z", text]:
            return not text
        case ["-d", path]:
            return shell.files.normal(path, shell.folder) in shell.files.folders
        case ["-f" | "-s" | "-r", path]:
            return shell.files.normal(path, shell.folder) in shell.files.content
        case ["-e", path]:
            return shell.files.exists(shell.files.normal(path, shell.folder))
        case [left, "=", right]:
            return left == right
        case [left, "!=", right]:
            return left != right
        case [left, "-eq" | "-ne" | "-lt" | "-gt" | "-le" | "-ge" as operator, right]:
            one, two = int(left), int(right)
            truth = {"-eq": one == two, "-ne": one != two, "-lt": one < two, "-gt": one > two}
            return {**truth, "-le": one <= two, "-ge": one >= two}[operator]
    return None


async def _command(shell: Shell, argv: list[str], io: Io) -> int:
    """`command -v NAME`, or a command without its functions."""
    if argv[1:2] != ["-v"]:
        tool = BUILTINS.get(argv[1]) or shell.tools.get(argv[1])
        return await tool(shell, argv[1:], io) if tool else 127
    name = argv[2] if len(argv) > 2 else ""  # noqa: PLR2004 - `command -v` and a name
    if name in BUILTINS or name in shell.functions:
        io.out(f"{name}\n")
        return 0
    if name in shell.tools:
        io.out(f"/usr/bin/{name}\n")
        return 0
    return 127


async def _sh(shell: Shell, argv: list[str], io: Io) -> int:
    """Another `sh`, with a script as an argument or on its standard input."""
    inner = shell.fresh(argv[0])
    match argv[1:]:
        case ["-c" | "-ec" | "-lc", text, *rest]:
            inner.name, inner.arguments = (rest[0], rest[1:]) if rest else (argv[0], [])
            return await inner.script(text, io)
        case ["-s", *rest]:
            inner.arguments = rest
        case [] | ["-"] | ["-e"]:
            pass
        case [path, *_]:
            io.error(f"{argv[0]}: 0: cannot open {path}: No such file\n")
            return 2
    return await inner.script((await io.stdin.read()).decode(errors="surrogateescape"), io)


async def _cat(shell: Shell, argv: list[str], io: Io) -> int:
    status = 0
    for path in argv[1:] or ["-"]:
        try:
            data = await io.stdin.read() if path == "-" else shell.files.read(shell.files.normal(path, shell.folder))
        except OSError as error:
            io.error(f"cat: {path}: {error.strerror}\n")
            status = 1
        else:
            io.stdout.write(data)
    return status


async def _env(shell: Shell, _argv: list[str], io: Io) -> int:
    io.out("".join(f"{name}={value}\n" for name, value in shell.variables.items()))
    return 0


BUILTINS: Final[Mapping[str, Tool]] = {
    ":": _true,
    "true": _true,
    "false": _false,
    "echo": _echo,
    "printf": _printf,
    "exit": _exit,
    "return": _return,
    "shift": _shift,
    "export": _export,
    "umask": _umask,
    "cd": _cd,
    "pwd": _pwd,
    "[": _test,
    "test": _test,
    "command": _command,
    "set": _true,
    "trap": _true,
    "sync": _true,
}
PROGRAMS: Final[Mapping[str, Tool]] = {
    "sh": _sh,
    "dash": _sh,
    "bash": _sh,
    "sleep": _sleep,
    "cat": _cat,
    "env": _env,
    "true": _true,
    "false": _false,
    "echo": _echo,
    "printf": _printf,
}

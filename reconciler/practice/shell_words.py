"""Expansion of words, and the commands that a shell has built in."""

from __future__ import annotations

import asyncio
import operator
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from reconciler.practice.shell_io import Leave, Return
from reconciler.practice.shell_tree import Arithmetic, Substitution, Text, Variable, Word

if TYPE_CHECKING:
    from reconciler.practice.files import Files
    from reconciler.practice.shell_io import Io
    from reconciler.practice.shell_run import Shell, Tool

TILDE: Final = re.compile(r"~(/|$)")
BLANKS: Final = re.compile(r"[ \t\n]+")
WHOLE: Final = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
COMPARED: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "-eq": operator.eq,
    "-ne": operator.ne,
    "-lt": operator.lt,
    "-gt": operator.gt,
    "-le": operator.le,
    "-ge": operator.ge,
}
Piece = tuple[str, bool]  # text, and whether it may be split
BREAK: Final = "\0"  # no argument can hold it: marks the places where "$@" breaks


async def pieces(shell: Shell, word: Word, io: Io) -> list[Piece]:
    """A word's parts with everything put in."""
    found: list[Piece] = []
    for at, part in enumerate(word.parts):
        match part:
            case Text():
                text = part.text
                if at == 0 and not part.quoted and TILDE.match(text):
                    text = shell.value("HOME") + text[1:]
                found.append((text, False))
            case Variable():
                if part.name == "@" and part.quoted:
                    found.append((BREAK.join(shell.arguments), False) if shell.arguments else (BREAK * 2, False))
                    continue
                value = shell.value(part.name)
                if not value and part.otherwise is not None:
                    value = await shell.text(part.otherwise, io)
                found.append((value, not part.quoted))
            case Substitution():
                found.append((await shell.captured(part.body, io), not part.quoted))
            case Arithmetic():
                found.append((_sum(shell, part.expression), not part.quoted))
    return found


def _sum(shell: Shell, expression: str) -> str:
    """Of whole numbers and variables; one that is empty counts as 0."""
    total, sign = 0, 1
    for word in re.findall(r"[+-]|\w+", expression, re.ASCII):
        if word in {"+", "-"}:
            sign = 1 if word == "+" else -1
            continue
        text = word if word.isdecimal() else shell.value(word) or "0"
        total += sign * int(text, 8 if re.match(r"0\d", text) else 10)
    return str(total)


def fields(found: list[Piece]) -> list[str]:
    """Split at blanks where a word may be split, and at the breaks of `"$@"`."""
    ready: list[str] = []
    current: str | None = None
    for text, splits in found:
        if text == BREAK * 2:
            continue
        parts = BLANKS.split(text) if splits else text.split(BREAK)
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


async def _set(shell: Shell, argv: list[str], _io: Io) -> int:
    """`set -- WORD...`: the arguments from now on. Options change nothing here."""
    if argv[1:2] == ["--"]:
        shell.arguments = argv[2:]
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
    if not _is(shell.files, "-d", path):
        io.error(f"{shell.name}: 1: cd: can't cd to {argv[1]}\n")
        return 2
    shell.folder = path
    return 0


async def _pwd(shell: Shell, argv: list[str], io: Io) -> int:
    folder = shell.folder or shell.files.home
    io.out((shell.files.real(folder) if "-P" in argv else folder) + "\n")
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
    try:
        held = _holds(shell, words[1:] if negated else words)
    except ValueError as error:
        io.error(f"{shell.name}: 1: {argv[0]}: Illegal number: {error.args[0]}\n")
        return 2
    if held is None:
        io.error(f"{shell.name}: 1: {argv[0]}: unexpected operator\n")
        return 2
    return int(held == negated)


def _holds(shell: Shell, words: list[str]) -> bool | None:
    """Whether it is so; None for what is no check. Raises ValueError for a text where a number must be."""
    match words:
        case []:
            return False
        case [text]:
            return bool(text)
        case ["-n", text]:
            return bool(text)
        case ["-z", text]:
            return not text
        case ["-L" | "-h", path]:
            return shell.files.normal(path, shell.folder) in shell.files.links
        case ["-d" | "-f" | "-s" | "-e" | "-k" | "-r" | "-w" | "-x" as check, path]:
            return _is(shell.files, check, shell.files.normal(path, shell.folder))
        case [left, "=", right]:
            return left == right
        case [left, "!=", right]:
            return left != right
        case [left, check, right] if check in COMPARED:
            return COMPARED[check](_whole(left), _whole(right))
    return None


def _whole(text: str) -> int:
    """Raises ValueError, with the text, for what is no number."""
    if not WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _is(files: Files, check: str, path: str) -> bool:
    """Whether what a path leads to is of a kind, or may be read, written or entered."""
    try:
        path = files.real(path)
        kind, size, _ = files.stat(path)
    except OSError:
        return False
    match check:
        case "-d":
            return kind == files.FOLDER
        case "-f":
            return kind == files.FILE
        case "-s":
            return size > 0
        case "-e":
            return True
    allowed = files.modes.get(path, 0o755 if kind == files.FOLDER else 0o644)
    return bool(allowed & {"-k": 0o1000, "-r": 0o400, "-w": 0o200, "-x": 0o100}[check])


async def _read(shell: Shell, argv: list[str], io: Io) -> int:
    """`read -r NAME...`: one line into variables, the last one takes what is left. 1 at the end of input."""
    names = [word for word in argv[1:] if word != "-r"]
    line = (await io.stdin.line()).decode(errors="surrogateescape")
    split = shell.variables.get("IFS", " \t\n")
    rest = line.removesuffix("\n").strip(split)
    for name in names[:-1]:
        found = re.split(f"[{re.escape(split)}]+", rest, maxsplit=1)
        shell.variables[name], rest = found[0], found[1] if len(found) > 1 else ""
    shell.variables[names[-1]] = rest
    return 0 if line.endswith("\n") else 1


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
    try:
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
        return await inner.follow(io)
    finally:
        inner.end()


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
    "set": _set,
    "read": _read,
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

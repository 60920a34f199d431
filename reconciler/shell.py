"""The only file that makes a command string.

Everywhere else a command is an argv: a tuple of strings, and of `Home` where the Spark itself has to expand
`$HOME`. Here it is quoted, once. `split(join(argv))` gives the argv back, always.

What travels to a Spark is not put on the login shell's command line: that shell may be fish or csh, which
read quotes and newlines in their own ways. The SSH request is the bare word in `REMOTE_SHELL`, and the
command is that shell's standard input. Since a connection can break half-way through that input, the
command stands inside `{ ... }`: a POSIX shell parses a brace group whole before it runs any of it, so no
proper prefix of what we send can run (`tests/unit/test_shell.py` tries every one).
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

REMOTE_SHELL: Final = "exec sh"


@dataclass(frozen=True, slots=True)
class Home:
    """An argument with `$HOME` in it, to be expanded by the Spark: `before` + $HOME + `after`."""

    after: str = ""
    before: str = ""

    def __str__(self) -> str:
        return f"{self.before}$HOME{self.after}"


Arg = str | Home
Argv = tuple[Arg, ...]


def home_path(path: str, *, before: str = "", after: str = "") -> Arg:
    """`before` + `path` + `after`, as a `Home` if the path starts with `$HOME` and as a string otherwise."""
    if path == "$HOME" or path.startswith("$HOME/"):
        return Home(path.removeprefix("$HOME") + after, before)
    return f"{before}{path}{after}"


def quote(arg: Arg) -> str:
    """One argument, quoted for a POSIX shell. Raises ValueError for NUL and for lone surrogates."""
    text = str(arg)
    if "\0" in text:
        raise ValueError("an argument can't hold NUL")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("an argument must be valid Unicode") from error
    if isinstance(arg, str):
        return shlex.quote(arg)
    before = shlex.quote(arg.before) if arg.before else ""
    after = shlex.quote(arg.after) if arg.after else ""
    return f'{before}"$HOME"{after}'


def join(argv: Iterable[Arg]) -> str:
    """The command line that a person could paste. An empty argv is refused with ValueError."""
    line = " ".join(quote(arg) for arg in argv)
    if not line:
        raise ValueError("a command needs at least a program")
    return line


def split(line: str) -> tuple[str, ...]:
    """The argv of a command line made by `join`; `Home` comes back as text with a literal `$HOME`."""
    return tuple(shlex.split(line))


def guarded(script: str) -> str:
    """`script` (whole lines of shell) as standard input for `REMOTE_SHELL`: it runs whole or not at all.

    Then that shell ends, and does not wait for the end of its input. That comes by itself, but not from a sender that
    was frozen or lost its power in between: and what the shell has open stays locked until it ends.
    """
    return "{\n" + script + "\nexit\n}\n"


def asked(script: str) -> str:
    """`script` for a `REMOTE_SHELL` that more scripts follow: nothing in it can read those as its own input."""
    return "{\n" + script + "\n} </dev/null\n"


def apart(script: str, mark: str) -> str:
    """`script` for a shell that goes on after it, whatever it defines, opens or ends; then `mark` is printed."""
    return f"(\n{script}\n)\nprintf %s {quote(mark)}"


def piped(argv: Argv, data: bytes) -> str:
    """A script that gives `data` to `argv` as its input and prints its output in base64: any bytes, both ways.

    `printf` is built into the shell, so that the data may be longer than a command line.
    """
    output = f"{join(argv)} | base64"
    return f"printf %s {base64.b64encode(data).decode()} | base64 -d | {output}" if data else output


def fed(argv: Argv, data: bytes) -> str:
    """A script that gives `data`, any bytes, to `argv` as its input; its exit status is that of `argv`."""
    return f"printf %s {base64.b64encode(data).decode()} | base64 -d | {join(argv)}"


def with_env_file(folder: str, name: str, values: Mapping[str, str], argv: Argv) -> str:
    """A script that writes `values` to a file only its owner can read, runs `argv`, and removes the file.

    `printf` is built into the shell, so the values stand in no process's argv. The script's exit status is
    that of `argv`, or 1 if the file can't be written (then `argv` is not run).
    """
    path = quote(home_path(f"{folder}/{name}"))
    lines = " ".join(shlex.quote(f"{key}={value}") for key, value in sorted(values.items()))
    return "\n".join(
        (
            f"umask 077 && mkdir -p {quote(home_path(folder))} && printf '%s\\n' {lines} > {path} || exit 1",
            join(argv),
            "status=$?",
            f"rm -f {path}",
            "exit $status",
        )
    )


def appended(data: bytes, path: Arg) -> str:
    """A line of script that appends `data`, any bytes, to a file."""
    return f"printf %s {shlex.quote(base64.b64encode(data).decode())} | base64 -d >> {quote(path)}"


def with_login(registry: str, user: str, password: str, argv: Argv) -> str:
    """A script that runs `argv` (a docker command) logged in to a registry, or as it is if the login fails.

    The login is kept in a folder of its own, in memory where that is possible, and removed with it: the password
    neither stays on the Spark nor stands in any argv, and what the user there has logged in to is left alone. An
    entry in that folder's configuration keeps docker from handing the password to a key ring.
    """
    config = json.dumps({"auths": {registry: {}}})
    login = join(("docker", "login", "--username", user, "--password-stdin", registry))
    command = join(argv)
    return "\n".join(
        (
            "umask 077",
            "keep=$(mktemp -d /dev/shm/sparkkeep-XXXXXXXX 2>/dev/null || mktemp -d) || exit 1",
            """trap 'rm -rf "$keep"' EXIT""",
            "trap 'exit 143' HUP INT TERM",
            f'printf %s {shlex.quote(config)} > "$keep/config.json" || exit 1',
            f'if printf %s {shlex.quote(password)} | DOCKER_CONFIG="$keep" {login} >/dev/null; then',
            f'DOCKER_CONFIG="$keep" {command}',
            f"else {command}",
            "fi",
            "status=$?",
            'rm -rf "$keep"',
            "exit $status",
        )
    )

"""The programs that stand in documents, and what is done with each here: nothing that is not named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from api.cli import app
from tests.docs.pages import Command

OURS = {"sparkkeep", ".venv/bin/sparkkeep"}
# Not ours to test. Each stands here by name, so that a slip of the pen is not taken for one of them.
OTHERS = {
    "make", "git", "cd", "ssh", "ssh-copy-id", "ssh-keygen", "docker", "systemctl", "journalctl", "sudo", "cp", "mv",
    "rm", "tar", "sed", "printf", "chmod", "chown", "umask", "mkdir", "openssl", "python3", "python3.11", "timedatectl",
    ".venv/bin/python", "/opt/vllm/bin/pip", "/opt/speech/bin/pip", "apt-get",
}  # fmt: skip
GENERAL = {"--help", "-h"}


def kind(command: Command) -> str:
    """curl, serve, ours, named or other; unknown is what nobody named here."""
    program = command.argv[0]
    if program == "sudo" and OURS & {*command.argv[:-1]}:
        return "named"  # ours, as somebody else: its words are read
    if program == "curl":
        return "curl"
    if program in OURS:
        return "serve" if "serve" in command.argv else "ours"
    name = program.partition("=")[0]
    if "=" in program and name.isupper():
        return "other"  # a variable in front of a program
    return "other" if program in OTHERS else "unknown"


def verbs(tree: Any = None, before: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every verb by its name, such as `weights gc`, with what typer made of it."""
    tree = get_command(app) if tree is None else tree
    if not hasattr(tree, "commands"):
        yield " ".join(before), tree
        return
    if before and tree.invoke_without_command:
        yield " ".join(before), tree
    for name, each in tree.commands.items():
        yield from verbs(each, (*before, name))


VERBS = dict(verbs())
EVERYWHERE = {flag for parameter in get_command(app).params for flag in parameter.opts}


def verb_of(words: list[str]) -> str:
    """The verb that these words, from `sparkkeep` on, begin with. Raises KeyError for one that is not there."""
    rest = [word for word in words[1:] if not word.startswith("-")]
    for length in (2, 1):
        for start in range(len(rest)):
            if (name := " ".join(rest[start : start + length])) in VERBS:
                return name
    raise KeyError(f"no verb in {' '.join(words)}")


def flags_of(verb: str) -> set[str]:
    return GENERAL | EVERYWHERE | {f for p in VERBS[verb].params for f in (*p.opts, *p.secondary_opts)}


def unknown_flags(words: list[str]) -> set[str]:
    """Those of its flags that the verb does not have."""
    given = {word.partition("=")[0] for word in words if word.startswith("-") and word not in {"-", "--"}}
    return given - flags_of(verb_of(words))

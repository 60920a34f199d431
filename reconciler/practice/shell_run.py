"""Runs what `shell_parser` has read: variables, functions, redirections, and the commands it was given.

It knows only the shell's own commands; everything else is a `Tool` that the owner hands in: a Spark's console
has docker and df, a container's has sleep.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from reconciler.practice import shell_words
from reconciler.practice.files import Files
from reconciler.practice.shell_io import Buffer, Input, Io, Leave, Return
from reconciler.practice.shell_parser import Parser
from reconciler.practice.shell_scanner import ShellSyntaxError
from reconciler.practice.shell_tree import (
    AndOr,
    Command,
    For,
    Function,
    Group,
    If,
    Pipeline,
    Redirect,
    Sequence,
    Simple,
    While,
    Word,
)

NOT_FOUND: Final = 127
SIGPIPE: Final = 141
USAGE: Final = 2


Tool = Callable[["Shell", list[str], Io], Awaitable[int]]


@dataclass(slots=True)
class Shell:
    """One `sh`: its variables, functions and folder."""

    tools: Mapping[str, Tool]
    files: Files
    variables: dict[str, str]
    arguments: list[str] = field(default_factory=list)
    name: str = "sh"
    folder: str = ""
    umask: int = 0o022
    status: int = 0
    functions: dict[str, Command] = field(default_factory=dict)

    async def script(self, text: str, io: Io) -> int:
        """Run a script, one complete command after the other, and give the exit status."""
        parser = Parser(text)
        try:
            for sequence in parser.commands():
                await self.sequence(sequence, io)
        except ShellSyntaxError as error:
            io.error(f"{self.name}: {parser.line}: Syntax error: {error}\n")
            return USAGE
        except Leave as leaving:
            return leaving.status
        return self.status

    def child(self) -> Shell:
        """A subshell: what it changes stays its own."""
        return replace(self, variables=dict(self.variables), functions=dict(self.functions))

    def fresh(self, name: str) -> Shell:
        """Another `sh` started from this one: its environment and folder, nothing else."""
        return Shell(self.tools, self.files, dict(self.variables), name=name, folder=self.folder, umask=self.umask)

    async def sequence(self, sequence: Sequence, io: Io) -> int:
        """Run commands one after the other."""
        for item in sequence.items:
            self.status = await self._and_or(item, io)
        return self.status

    async def _and_or(self, item: AndOr, io: Io) -> int:
        self.status = await self._pipeline(item.first, io)
        for operator, pipeline in item.rest:
            if (self.status == 0) == (operator == "&&"):
                self.status = await self._pipeline(pipeline, io)
        return self.status

    async def _pipeline(self, pipeline: Pipeline, io: Io) -> int:
        *before, last = pipeline.commands
        if not before:
            status = await self._command(last, io)
        else:
            stdin = io.stdin
            for command in before:
                passed = Buffer()
                await self.child().leaving(command, Io(stdin, passed, io.stderr))
                stdin = Input(bytes(passed.data))
            status = await self.child().leaving(last, replace(io, stdin=stdin))
        return int(status == 0) if pipeline.negated else status

    async def leaving(self, command: Command, io: Io) -> int:
        """Run a command that only ends this shell if it says `exit`."""
        try:
            return await self._command(command, io)
        except Leave as leaving:
            return leaving.status

    async def _command(self, command: Command, io: Io) -> int:
        match command:
            case Simple():
                return await self._simple(command, io)
            case Group():
                return await self._group(command, io)
            case Function():
                self.functions[command.name] = command.body
                return 0
            case If():
                for condition, body in command.branches:
                    if await self.sequence(condition, io) == 0:
                        return await self.sequence(body, io)
                return await self.sequence(command.otherwise, io) if command.otherwise else 0
            case For():
                return await self._for(command, io)
            case While():
                status = 0
                while (await self.sequence(command.condition, io) == 0) != command.until:
                    status = await self.sequence(command.body, io)
                return status

    async def _for(self, command: For, io: Io) -> int:
        status = 0
        for value in [text for word in command.words for text in await self.expand(word, io)]:
            self.variables[command.name] = value
            status = await self.sequence(command.body, io)
        return status

    async def _group(self, group: Group, io: Io) -> int:
        try:
            inner, finish = await self._redirected(group.redirects, io, 1)
        except OSError:
            return USAGE
        shell = self.child() if group.subshell else self
        try:
            return await shell.sequence(group.body, inner)
        except Return:
            raise
        except Leave as leaving:
            if not group.subshell:
                raise
            return leaving.status
        finally:
            finish()

    async def _simple(self, command: Simple, io: Io) -> int:
        words = [text for word in command.words for text in await self.expand(word, io)]
        values = {name: await self.text(word, io) for name, word in command.assignments}
        try:
            inner, finish = await self._redirected(command.redirects, io, command.line)
        except OSError:
            return USAGE
        try:
            if not words:
                self.variables.update(values)
                return 0 if not command.assignments else self.status
            return await self._call(words, values, inner, command.line)
        except BrokenPipeError:
            return SIGPIPE
        finally:
            finish()

    async def _call(self, words: list[str], values: dict[str, str], io: Io, line: int) -> int:
        name, *rest = words
        if name in self.functions:
            return await self._function(self.functions[name], rest, io)
        if name == "exec":
            if rest:
                raise Leave(await self._call(rest, values, io, line))
            return 0
        tool = shell_words.BUILTINS.get(name) or self.tools.get(name.rpartition("/")[2])
        if tool is None:
            io.error(f"{self.name}: {line}: {name}: not found\n")
            return NOT_FOUND
        before = dict(self.variables)
        self.variables.update(values)
        try:
            return await tool(self, words, io)
        finally:
            for key in values:
                if key in before:
                    self.variables[key] = before[key]
                else:
                    self.variables.pop(key, None)

    async def _function(self, body: Command, arguments: list[str], io: Io) -> int:
        before, self.arguments = self.arguments, arguments
        try:
            return await self._command(body, io)
        except Return as returning:
            return returning.status
        finally:
            self.arguments = before

    # Redirections

    async def _redirected(self, redirects: tuple[Redirect, ...], io: Io, line: int) -> tuple[Io, Callable[[], None]]:
        """The streams after the redirections, and what writes the files in the end. Raises OSError, told already."""
        written: list[tuple[str, Buffer]] = []
        for redirect in redirects:
            target = await self.text(redirect.target, io)
            try:
                io = self._redirect(redirect, target, io, written)
            except OSError as error:
                verb = "open" if redirect.operator == "<" else "create"
                io.error(f"{self.name}: {line}: cannot {verb} {target}: {error.strerror}\n")
                raise

        def finish() -> None:
            for path, buffer in written:
                self.files.write(path, bytes(buffer.data), mode=0o666 & ~self.umask, append=True)

        return io, finish

    def _redirect(self, redirect: Redirect, target: str, io: Io, written: list[tuple[str, Buffer]]) -> Io:
        if redirect.operator.startswith("<<"):
            return replace(io, stdin=Input(target.encode(errors="surrogateescape")))
        if redirect.operator == ">&":
            source = io.stdout if target == "1" else io.stderr
            return replace(io, stdout=source) if redirect.number == 1 else replace(io, stderr=source)
        path = self.files.normal(target, self.folder)
        if redirect.operator == "<":
            return replace(io, stdin=Input(self.files.read(path)))
        self.files.write(path, b"", mode=0o666 & ~self.umask, append=redirect.operator == ">>")
        buffer = Buffer()
        written.append((path, buffer))
        return replace(io, stdout=buffer) if redirect.number == 1 else replace(io, stderr=buffer)

    # Expansion

    async def text(self, word: Word, io: Io) -> str:
        """A word as one text, as in an assignment."""
        return "".join([piece for piece, _ in await shell_words.pieces(self, word, io)])

    async def expand(self, word: Word, io: Io) -> list[str]:
        """A word as arguments: none, one or several."""
        return shell_words.fields(await shell_words.pieces(self, word, io))

    def value(self, name: str) -> str:
        """A variable, or one of the shell's own."""
        if name == "?":
            return str(self.status)
        if name == "#":
            return str(len(self.arguments))
        if name == "$":
            return "4242"
        if name == "0":
            return self.name
        if name in {"@", "*"}:
            return " ".join(self.arguments)
        if re.fullmatch(r"\d+", name):
            at = int(name) - 1
            return self.arguments[at] if at < len(self.arguments) else ""
        return self.variables.get(name, "")

    async def captured(self, sequence: Sequence, io: Io) -> str:
        """The output of `$(...)`, without its last newlines."""
        buffer = Buffer()
        child = self.child()
        try:
            self.status = await child.sequence(sequence, replace(io, stdout=buffer))
        except Leave as leaving:
            self.status = leaving.status
        return buffer.text.rstrip("\n")

"""Runs what `shell_parser` has read: variables, functions, redirections, and the commands it was given.

It knows only the shell's own commands; everything else is a `Tool` that the owner hands in: a Spark's console
has docker and df, a container's has sleep.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from reconciler.practice import shell_words
from reconciler.practice.files import Files
from reconciler.practice.locks import FileLock, Opened
from reconciler.practice.shell_io import Buffer, Input, Io, Leave, Return
from reconciler.practice.shell_parser import read
from reconciler.practice.shell_tree import (
    AndOr,
    Command,
    For,
    Function,
    Group,
    If,
    Item,
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
FIRST: Final = 3  # number of an open file that is none of the standard streams


Tool = Callable[["Shell", list[str], Io], Awaitable[int]]


def _nothing() -> None:
    """No file was written."""


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
    descriptors: dict[int, Opened] = field(default_factory=dict)  # from 3 on, what `exec N<file` has opened

    async def script(self, text: str, io: Io) -> int:
        """Run a script, one complete command after the other, and give the exit status."""
        script = read(text)
        try:
            for sequence, _ in script.commands:
                await self.sequence(sequence, io)
        except Leave as leaving:
            return leaving.status
        if script.problem:
            io.error(f"{self.name}: {script.line}: Syntax error: {script.problem}\n")
            return USAGE
        return self.status

    async def follow(self, io: Io) -> int:
        """Run the script that comes on standard input: each complete command as soon as its last line is there."""
        decoder = getincrementaldecoder("utf-8")("surrogateescape")
        text = ""
        while piece := await io.stdin.some():
            text += decoder.decode(piece)
            try:
                text = await self._complete(text, io)
            except Leave as leaving:
                return leaving.status
        return await self.script(text + decoder.decode(b"", final=True), io)

    async def _complete(self, text: str, io: Io) -> str:
        """Run the complete commands at the head of a script; what comes after them is given back."""
        lines = text[: text.rfind("\n") + 1]
        done = 0  # what is wrong behind it may yet become a command; at the end of input `script` says if not
        for sequence, end in read(lines, whole=False).commands:
            done = end
            await self.sequence(sequence, io)
        return text[done:]

    def child(self) -> Shell:
        """A subshell: what it changes stays its own. To be ended."""
        return self._forked(self.name, self.arguments, self.status, dict(self.functions))

    def fresh(self, name: str) -> Shell:
        """Another `sh` started from this one: its environment, folder and open files, nothing else. To be ended."""
        return self._forked(name, [], 0, {})

    def _forked(self, name: str, arguments: list[str], status: int, functions: dict[str, Command]) -> Shell:
        return Shell(
            self.tools,
            self.files,
            dict(self.variables),
            arguments,
            name,
            self.folder,
            self.umask,
            status,
            functions,
            {number: opened.share() for number, opened in self.descriptors.items()} if self.descriptors else {},
        )

    def end(self) -> None:
        """The shell is gone: so are its open files."""
        while self.descriptors:
            self.descriptors.popitem()[1].close()

    async def sequence(self, sequence: Sequence, io: Io) -> int:
        """Run commands one after the other."""
        for item in sequence.items:
            self.status = await self._run(item, io)
        return self.status

    def _run(self, item: Item, io: Io) -> Awaitable[int]:
        """Whatever it is."""
        match item:
            case Simple():
                return self._simple(item, io)
            case AndOr():
                return self._and_or(item, io)
            case Group():
                return self._group(item, io)
            case For():
                return self._for(item, io)
            case Function():
                return self._define(item)
            case If():
                return self._if(item, io)
            case Pipeline():
                return self._pipeline(item, io)
            case While():
                return self._while(item, io)

    async def _and_or(self, item: AndOr, io: Io) -> int:
        self.status = await self._run(item.first, io)
        for operator, pipeline in item.rest:
            if (self.status == 0) == (operator == "&&"):
                self.status = await self._run(pipeline, io)
        return self.status

    async def _pipeline(self, pipeline: Pipeline, io: Io) -> int:
        *before, last = pipeline.commands
        if not before:
            status = await self._run(last, io)
        else:
            stdin = io.stdin
            for command in before:
                passed = Buffer()
                await self.child().leaving(command, Io(stdin, passed, io.stderr))
                stdin = Input(bytes(passed.data))
            status = await self.child().leaving(last, io.fed(stdin))
        return int(status == 0) if pipeline.negated else status

    async def leaving(self, command: Command, io: Io) -> int:
        """Run a command that only ends this shell if it says `exit`, and then end it."""
        try:
            return await self._run(command, io)
        except Leave as leaving:
            return leaving.status
        finally:
            self.end()

    async def _define(self, function: Function) -> int:
        self.functions[function.name] = function.body
        return 0

    async def _if(self, command: If, io: Io) -> int:
        for condition, body in command.branches:
            if await self.sequence(condition, io) == 0:
                return await self.sequence(body, io)
        return await self.sequence(command.otherwise, io) if command.otherwise else 0

    async def _while(self, command: While, io: Io) -> int:
        status = 0
        while (await self.sequence(command.condition, io) == 0) != command.until:
            status = await self.sequence(command.body, io)
        return status

    async def _for(self, command: For, io: Io) -> int:
        status = 0
        for value in await self.expanded(command.words, io):
            self.variables[command.name] = value
            status = await self.sequence(command.body, io)
        return status

    async def _group(self, group: Group, io: Io) -> int:
        inner, finish = io, _nothing
        if group.redirects:
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
            if group.subshell:
                shell.end()

    async def _simple(self, command: Simple, io: Io) -> int:
        words = [*command.fixed] if command.fixed is not None else await self.expanded(command.words, io)
        values = {name: await self.text(word, io) for name, word in command.assignments} if command.assignments else {}
        if words == ["exec"]:
            return await self._open(command, io)
        inner, finish = io, _nothing
        if command.redirects:
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
            raise Leave(await self._call(rest, values, io, line))
        tool = shell_words.BUILTINS.get(name) or self.tools.get(name.rpartition("/")[2])
        if tool is None:
            io.error(f"{self.name}: {line}: {name}: not found\n")
            return NOT_FOUND
        if not values:
            return await tool(self, words, io)
        before = {key: self.variables[key] for key in values if key in self.variables}
        self.variables.update(values)
        try:
            return await tool(self, words, io)
        finally:
            for key in values:
                self.variables.pop(key, None)
            self.variables.update(before)

    async def _function(self, body: Command, arguments: list[str], io: Io) -> int:
        before, self.arguments = self.arguments, arguments
        try:
            return await self._run(body, io)
        except Return as returning:
            return returning.status
        finally:
            self.arguments = before

    # Redirections

    async def _open(self, command: Simple, io: Io) -> int:
        """`exec N<file` and `exec N>&-`: what stays open for this shell. A file that isn't there ends it.

        The three standard streams stay what they were.
        """
        for redirect in command.redirects:
            if redirect.number < FIRST:
                continue
            target = await self.text(redirect.target, io)
            if (before := self.descriptors.pop(redirect.number, None)) is not None:
                before.close()
            if target == "-":
                continue
            try:
                path = self.files.real(self.files.normal(target, self.folder))
            except OSError as error:
                io.error(f"{self.name}: {command.line}: cannot open {target}: No such file\n")
                raise Leave(USAGE) from error
            self.descriptors[redirect.number] = Opened(path, self.files.locks.setdefault(path, FileLock()))
        return 0

    def _path(self, target: str) -> str:
        """Where a redirection leads; `/proc/self/fd/N` to what is open as N."""
        _, own, number = target.rpartition("/proc/self/fd/")
        if own and number.isdecimal() and int(number) in self.descriptors:
            return self.descriptors[int(number)].path
        return self.files.normal(target, self.folder)

    async def _redirected(self, redirects: tuple[Redirect, ...], io: Io, line: int) -> tuple[Io, Callable[[], None]]:
        """The streams after the redirections, and what writes the files in the end. Raises OSError, told already."""
        written: list[tuple[str, Buffer, bool]] = []
        for redirect in redirects:
            target = await self.text(redirect.target, io)
            try:
                io = self._redirect(redirect, target, io, written)
            except OSError as error:
                verb = "open" if redirect.operator == "<" else "create"
                io.error(f"{self.name}: {line}: cannot {verb} {target}: {error.strerror}\n")
                raise

        def finish() -> None:
            for path, buffer, over in written:
                data, mode = bytes(buffer.data), 0o666 & ~self.umask
                if over:  # what is there is written over from its beginning, and the rest of it stays
                    data += self.files.read(path)[len(data) :]
                self.files.write(path, data, mode=mode, append=not over)

        return io, finish

    def _redirect(self, redirect: Redirect, target: str, io: Io, written: list[tuple[str, Buffer, bool]]) -> Io:
        if redirect.operator.startswith("<<"):
            return io.fed(Input(target.encode(errors="surrogateescape")))
        if redirect.operator == ">&":
            source = io.stdout if target == "1" else io.stderr
            return io.to(redirect.number, source)
        path, over = self._path(target), redirect.operator == "<>"
        if redirect.operator == "<":
            return io.fed(Input(self.files.read(path)))
        buffer = Buffer()
        if path != "/dev/null":
            self.files.write(path, b"", mode=0o666 & ~self.umask, append=over or redirect.operator == ">>")
            written.append((path, buffer, over))
        return io.to(redirect.number, buffer)

    # Expansion

    async def text(self, word: Word, io: Io) -> str:
        """A word as one text, as in an assignment."""
        if word.fixed is not None:
            return word.fixed
        return "".join([piece for piece, _ in await shell_words.pieces(self, word, io)])

    async def expanded(self, words: tuple[Word, ...], io: Io) -> list[str]:
        """Words as arguments: each as none, one or several."""
        found: list[str] = []
        for word in words:
            if word.fixed is not None:
                found.append(word.fixed)
            else:
                found += shell_words.fields(await shell_words.pieces(self, word, io))
        return found

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
        if name.isdecimal():
            at = int(name) - 1
            return self.arguments[at] if at < len(self.arguments) else ""
        return self.variables.get(name, "")

    async def captured(self, sequence: Sequence, io: Io) -> str:
        """The output of `$(...)`, without its last newlines."""
        buffer = Buffer()
        child = self.child()
        try:
            self.status = await child.sequence(sequence, io.to(1, buffer))
        except Leave as leaving:
            self.status = leaving.status
        finally:
            child.end()
        return buffer.text.rstrip("\n")

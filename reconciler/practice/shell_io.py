"""The streams of a command on a practice Spark, and how a shell is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


class Sink(Protocol):
    """Where output goes. Raises BrokenPipeError when nobody reads any more."""

    def write(self, data: bytes, /) -> object:
        """Send it on. Raises BrokenPipeError."""


class Input:
    """What a command can read; whoever reads it first has it. Nothing is read that nobody asks for."""

    def __init__(self, data: bytes = b"", source: Callable[[], Awaitable[bytes]] | None = None) -> None:
        """`source` gives what comes next, and nothing at the end of input."""
        self._data = data
        self._source = source

    async def some(self) -> bytes:
        """What is there, or else what comes next; empty at the end of input."""
        data, self._data = self._data, b""
        if not data and self._source is not None:
            data = await self._source()
            if not data:
                self._source = None
        return data

    async def line(self) -> bytes:
        """Up to and with the next newline, or to the end of input; what comes after it stays."""
        found = bytearray()
        while b"\n" not in found and (piece := await self.some()):
            found += piece
        line, newline, self._data = bytes(found).partition(b"\n")
        return line + newline

    async def read(self) -> bytes:
        """All that is left, up to the end of input."""
        data = bytearray()
        while piece := await self.some():
            data += piece
        return bytes(data)


class Buffer:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes, /) -> None:
        """Send it on. Raises BrokenPipeError."""
        self.data += data

    @property
    def text(self) -> str:
        """All of it, as text."""
        return self.data.decode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class Io:
    """The three streams of a command."""

    stdin: Input
    stdout: Sink
    stderr: Sink

    def fed(self, stdin: Input) -> Io:
        """The same, but for what it reads."""
        return Io(stdin, self.stdout, self.stderr)

    def to(self, number: int, sink: Sink) -> Io:
        """The same, but for where its output (1) or its errors (2) go."""
        return Io(self.stdin, sink, self.stderr) if number == 1 else Io(self.stdin, self.stdout, sink)

    def out(self, text: str) -> None:
        """Text for standard output."""
        self.stdout.write(text.encode(errors="surrogateescape"))

    def error(self, text: str) -> None:
        """Text for standard error."""
        self.stderr.write(text.encode(errors="surrogateescape"))


class Leave(Exception):
    """`exit`: the whole shell ends."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Return(Leave):
    """`return`: only the function ends."""

"""A shell that stays open on a Spark, for the question that is asked again and again: the facts of a scan.

A command of its own costs the Spark a fork of sshd, a login shell and another `sh` every time, which is as much as the
answer itself. Here one `sh` reads script after script; each prints, as its last line, a mark that nobody can guess.

The shell is a convenience, never a need. It holds a seat only while nobody else wants one: `Channels` takes it back
when the seats or the server's sessions run out. One that ended between two questions is replaced; one that does not
answer in time is killed with all that it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import asyncssh

from reconciler.linkdown import CommandTimeout, ConnectionBroken, LinkDown, OutputTooLong
from reconciler.sessions import MAX_OUTPUT, kill
from reconciler.shell import asked

AGAIN: Final = 2  # a shell that was kept may have ended unseen; a new one has not


class Conversation(asyncssh.SSHClientSession[bytes]):
    """The channel of such a shell: one question at a time."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._heard = bytearray()
        self._mark = b""
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._exited = False
        self.gone = False
        self.chan: asyncssh.SSHClientChannel[bytes] | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        self.chan = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """The script printed something; what the shell itself says on stderr is nobody's answer."""
        if datatype is not None or self._answer.done():
            return
        self._heard += data
        if self._heard.endswith(self._mark):
            self._answer.set_result(self._text())
        elif len(self._heard) > MAX_OUTPUT:
            what = f"a script printed more than {MAX_OUTPUT // 2**20} MiB, so it was stopped"
            self._fail(OutputTooLong("OutputTooLong", what))
            self.abort()

    def exit_status_received(self, status: int) -> None:
        """The shell ended by itself."""
        del status
        self._exited = True

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """A signal ended the shell."""
        del signal, core_dumped, msg, lang
        self._exited = True

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed: the shell has ended, or the connection broke."""
        self._leave()
        self.gone = True
        if self._answer.done():
            return
        if exc is None and self._exited:
            self._answer.set_result(self._text())  # without the mark: whoever asked sees that it was cut short
        else:
            self._fail(ConnectionBroken("ConnectionLost", "the connection broke while the Spark was being looked at"))

    async def ask(self, script: str, mark: str) -> str:
        """What the script prints; it ends with `mark`, unless the shell ended before. Raises LinkDown."""
        if self.chan is None or self.gone:
            return ""
        self._heard.clear()
        self._mark = mark.encode()
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self.chan.write(asked(script).encode())
        except OSError:  # it is being closed just now
            return ""
        return await self._answer

    def abort(self) -> None:
        """Kill the shell, and give its channel and seat up."""
        kill(self.chan)
        self.gone = True
        self._leave()

    def _fail(self, error: LinkDown) -> None:
        self._answer.set_exception(error)
        self._answer.exception()  # its caller may have left

    def _text(self) -> str:
        return self._heard.decode(errors="replace")


class Standing:
    """One Spark's standing shell, opened when it is first asked. `open_shell` opens a channel before a deadline."""

    def __init__(self, name: str, open_shell: Callable[[float], Awaitable[Conversation]]) -> None:
        self._name = name
        self._open = open_shell
        self._shell: Conversation | None = None
        self._turn = asyncio.Lock()

    async def ask(self, script: str, mark: str, timeout: float) -> str:
        """What `script` prints, up to and with its last words `mark`. Raises LinkDown.

        An answer without the mark means that the shell ended in the middle of it.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            async with asyncio.timeout_at(deadline), self._turn:
                answer = ""
                for _ in range(AGAIN):
                    if answer := await self._ask(script, mark, deadline):
                        break
                return answer
        except TimeoutError as late:
            what = f"{self._name} did not answer a question within {timeout:g} s"
            raise CommandTimeout("CommandTimeout", what) from late

    def give_way(self) -> None:
        """Somebody needs the seat: close the shell, unless it is being asked just now."""
        if self._shell is not None and not self._turn.locked():
            self._shell.abort()
            self._shell = None

    async def _ask(self, script: str, mark: str, deadline: float) -> str:
        if self._shell is None or self._shell.gone:
            self._shell = await self._open(deadline)
        shell, whole = self._shell, False
        try:
            answer = await shell.ask(script, mark)
            whole = answer.endswith(mark)
            return answer
        finally:
            if not whole:
                self._shell = None
                shell.abort()

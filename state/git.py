"""Running git. No other module of sparkkeep does.

Always an argv list, in an environment that leaves nothing to chance: no prompt, no pager, no hooks, no colours, English
messages, and none of the GIT_ variables that would point elsewhere. What a person set up to reach a remote stays: the
ssh agent and keys, credential helpers, proxies, certificates, the configuration of the system and the user.

Each command has a time limit and its output a bound. One that fails raises GitFailed with a sentence for people, in
which the user and password of a URL are masked. A revision that a person names passes `named` before it stands in argv.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOCAL_LIMIT: Final = 60.0  # seconds for a command that stays on this machine
REMOTE_LIMIT: Final = 90.0  # seconds for one that talks to a remote
GRACE: Final = 3.0  # seconds to clean up after SIGTERM: git removes its lock files then
MAX_OUTPUT: Final = 32 << 20
MAX_SAID: Final = 300  # characters of git's own words in an error
CHUNK: Final = 1 << 16

KEPT: Final = re.compile(r"GIT_(SSH|SSH_COMMAND|SSH_VARIANT|ASKPASS|CONFIG_.*|SSL_.*|HTTP_.*|PROXY_.*|EXEC_PATH)")
SET: Final = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",  # looking must not take the index's lock away from a person
    "GIT_PAGER": "cat",
    "GIT_COMMITTER_NAME": "sparkkeep",
    "GIT_COMMITTER_EMAIL": "git@sparkkeep",
    "LC_ALL": "C",
    "SSH_ASKPASS_REQUIRE": "never",
}
CONFIG: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "core.fsync=committed,loose-object,reference",
    "color.ui=false",
    "log.showSignature=false",
    "i18n.logOutputEncoding=UTF-8",
    "submodule.recurse=false",
    "push.recurseSubmodules=no",
    "push.gpgSign=false",
)
FIXED: Final = ("--no-pager", *(part for item in CONFIG for part in ("-c", item)))

REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}(~[0-9]{1,4})?")
CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s'\"]+(?=@)")


class GitFailed(Exception):
    """A git command did not do what it was run for; the text says so in a sentence."""

    def __init__(self, message: str, *, said: str = "") -> None:
        super().__init__(message)
        self.said = said  # git's own words, masked


class GitMissing(GitFailed):
    """There is no git on this machine."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command that ran has printed, `cut` if that was more than asked for."""

    code: int
    out: bytes
    said: str
    cut: bool = False


def masked(text: str) -> str:
    """The text without the users and passwords of its URLs."""
    return CREDENTIALS.sub("***", text)


def named(revision: str) -> str:
    """A revision as a person may name it: a commit, a branch or a tag, `HEAD`, each with `~N`. Raises GitFailed."""
    if not REVISION.fullmatch(revision) or ".." in revision or "//" in revision or revision.endswith((".", "/")):
        raise GitFailed(
            f"{revision[:80]!r} can't name a revision; give a commit (at least 4 hexadecimal digits), a branch, a tag,"
            " or HEAD, and ~N behind it for the N-th before"
        )
    return revision


class Git:
    """Runs git in one folder."""

    def __init__(self, folder: Path, *, options: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> None:
        program = shutil.which("git", path=(environ if environ is not None else os.environ).get("PATH"))
        if program is None:
            raise GitMissing("there is no git on this machine: the desired state works, but keeps no history")
        self.folder = folder
        self._start = (program, *FIXED, *options)
        self._environ = _environment(os.environ if environ is None else environ)
        self._contents: dict[str, bytes] = {}  # of objects, by hash
        self._hashes: dict[bytes, str] = {}

    async def run(
        self,
        *argv: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        limit: float = LOCAL_LIMIT,
        most: int = MAX_OUTPUT,
        cut: bool = False,
        codes: Sequence[int] = (0,),
    ) -> Answer:
        """One command. Raises GitFailed for an exit status not in `codes`, and for more output unless it may be cut."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._start,
                *argv,
                cwd=self.folder,
                env={**self._environ, **(env or {})},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # no terminal to prompt on, and its helpers end with it
            )
        except OSError as error:
            raise GitFailed(f"git can't be run in {self.folder}: {error.strerror or error}") from None
        try:
            async with asyncio.timeout(limit):
                answer = await _talk(process, stdin, most)
        except TimeoutError:
            raise GitFailed(f"git {argv[0]} was ended: it took more than {limit:g} s") from None
        finally:
            await _end(process)
            await _hear_out(process)
        if answer.cut and not cut:
            raise GitFailed(f"git {argv[0]} printed more than {most} bytes, which is more than is taken")
        if answer.code not in codes and not answer.cut:
            raise GitFailed(f"git {argv[0]} failed: {_sentence(answer)}", said=answer.said)
        return answer

    async def text(self, *argv: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """What a command printed, without the white space around it."""
        return (await self.run(*argv, stdin=stdin, env=env)).out.decode("utf-8", "surrogateescape").strip()

    async def resolve(self, revision: str) -> str | None:
        """The full name of the commit that is meant, None if there is none. For names that people did not give."""
        argv = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        answer = await self.run(*argv, codes=(0, 1, 128))
        return answer.out.decode().strip() or None if answer.code == 0 else None

    async def refs(self, *names: str) -> dict[str, str]:
        """The commits that these refs, by their full names, point at; without those that don't exist."""
        out = await self.text("for-each-ref", "--format=%(refname) %(objectname)", *names)
        found = dict(line.rsplit(" ", 1) for line in out.splitlines())
        return {name: found[name] for name in names if name in found}

    async def meant(self, revision: str) -> str:
        """The full name of the commit that a person means. Raises GitFailed."""
        found = await self.resolve(named(revision))
        if found is None:
            raise GitFailed(f"there is no commit {revision} in {self.folder}, or more than one begins like that")
        return found

    async def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `new` has `old` in its past, or is it."""
        return (await self.run("merge-base", "--is-ancestor", old, new, codes=(0, 1))).code == 0

    def forget(self) -> None:
        """Ask git anew for objects. What nothing refers to isn't there for ever, so nor is it remembered for long."""
        self._contents.clear()
        self._hashes.clear()

    async def put(self, data: bytes) -> str:
        """These very bytes as an object of the repository; its hash."""
        if data not in self._hashes:
            name = await self.text("hash-object", "-w", "--stdin", "--no-filters", stdin=data)
            self._contents[name], self._hashes[data] = data, name
        return self._hashes[data]

    async def blob(self, name: str) -> bytes | None:
        """The content of an object, by its hash; None if it isn't there."""
        if name not in self._contents:
            (found,) = await self.blobs([name])
            if found is None:
                return None
            self._contents[name], self._hashes[found] = found, name
        return self._contents[name]

    async def blobs(self, names: Sequence[str]) -> list[bytes | None]:
        """The contents of objects, named like `HEAD:a.yaml` or by their hash; None for one that does not exist."""
        if not names:
            return []
        asked = b"".join(name.encode("utf-8", "surrogateescape") + b"\n" for name in names)
        rest = (await self.run("cat-file", "--batch", stdin=asked)).out
        found: list[bytes | None] = []
        for _ in names:
            head, _, rest = rest.partition(b"\n")
            words = head.rsplit(b" ", 2)
            if len(words) == 3 and words[-1].isdigit():  # noqa: PLR2004  # "<hash> <type> <size>"
                size = int(words[-1])
                found.append(rest[:size] if words[1] == b"blob" else None)
                rest = rest[size + 1 :]
            else:
                found.append(None)
        return found


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in environ.items() if not k.startswith(("GIT_", "LC_")) or KEPT.fullmatch(k)}
    for name in ("LANGUAGE", "SSH_ASKPASS", "PAGER", "EDITOR", "VISUAL"):
        kept.pop(name, None)
    return {**kept, **SET}


async def _talk(process: asyncio.subprocess.Process, stdin: bytes, most: int) -> Answer:
    """Feed it and hear it out, at most so many bytes."""
    assert process.stdin is not None  # noqa: S101  # all three are pipes
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    async with asyncio.TaskGroup() as group:  # whoever gives up here has nobody left who reads
        group.create_task(_feed(process.stdin, stdin))
        complaining = group.create_task(_listen(process.stderr, CHUNK, stop=False))
        out, cut = await _listen(process.stdout, most, stop=True)
        if cut:
            await _end(process)
    said, _ = complaining.result()
    code = await process.wait()
    return Answer(code, out, masked(said.decode("utf-8", "replace")), cut)


async def _feed(pipe: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended without reading; its status says why
        if not pipe.is_closing():
            pipe.write(data)
        await pipe.drain()
        pipe.close()  # not waited for: asyncio mistakes a wait that is given up for a pipe that has closed twice


async def _listen(pipe: asyncio.StreamReader, most: int, *, stop: bool) -> tuple[bytes, bool]:
    """The first `most` bytes, and whether there were more; what is more is read and dropped unless told to stop."""
    heard = bytearray()
    cut = False
    while chunk := await pipe.read(CHUNK):
        room = most - len(heard)
        heard += chunk[:room]
        cut = cut or len(chunk) > room
        if cut and stop:
            break
    return bytes(heard), cut


async def _end(process: asyncio.subprocess.Process) -> None:
    """End it and all that it started, unless it has ended."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await process.wait()


async def _hear_out(process: asyncio.subprocess.Process) -> None:
    """Read what is left in the pipes of a process that has ended.

    A pipe that nobody hears to its end stays open for as long as its process is remembered, since asyncio stops reading
    where what was read is not fetched.
    """
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None  # noqa: S101  # both are pipes
        with contextlib.suppress(TimeoutError):  # something else has kept its other end
            async with asyncio.timeout(GRACE):
                while await pipe.read(CHUNK):
                    pass


def _sentence(answer: Answer) -> str:
    """The line of git's words that says what is wrong."""
    lines = [line.strip() for line in answer.said.splitlines() if line.strip() and not line.startswith("hint:")]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))] or lines
    said = "; ".join(line.removeprefix("fatal: ").removeprefix("error: ") for line in telling)
    said = said or f"it ended with status {answer.code}"
    return said if len(said) <= MAX_SAID else f"{said[: MAX_SAID - 1]}…"

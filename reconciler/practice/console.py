"""What a command meets on a practice Spark: a shell, its programs, and the faults that strike commands.

An SSH request reaches `Console.run` as the user's login shell would get it: the request's text is a command
line, and `exec sh` reads its script from standard input.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from reconciler.launch import DROP_CACHES
from reconciler.practice import machine_text
from reconciler.practice.curl import Curl, Serving
from reconciler.practice.disk_programs import DISK_PROGRAMS
from reconciler.practice.locks import flock
from reconciler.practice.shapes import KERNEL
from reconciler.practice.shell_io import Io
from reconciler.practice.shell_run import NOT_FOUND, Shell
from reconciler.practice.shell_words import PROGRAMS

if TYPE_CHECKING:
    from reconciler.practice.docker_cli import DockerCli
    from reconciler.practice.machine import Machine
    from reconciler.practice.shell_run import Tool

USER: Final = "practice"


class Console:
    """One Spark's shell and programs."""

    def __init__(self, machine: Machine, docker: DockerCli, servers: Mapping[int, Serving]) -> None:
        self.machine = machine
        self.docker = docker
        self.files = docker.engine.files
        self.files.live.update(machine_text.proc(machine))
        self.scripts: list[str] = []  # every request as it came, script included: for tests that look for secrets
        self.tools: Mapping[str, Tool] = {
            **PROGRAMS,
            "docker": docker,
            "curl": Curl(servers, machine.address),
            "mkdir": _mkdir,
            "rm": _rm,
            "df": self._df,
            "ip": self._ip,
            "nvidia-smi": self._nvidia_smi,
            "uname": self._uname,
            "hostname": self._hostname,
            "whoami": _whoami,
            "id": _id,
            "nproc": _nproc,
            "date": self._date,
            "chmod": _chmod,
            "mv": _mv,
            "mktemp": self._mktemp,
            "ls": _ls,
            "sudo": self._sudo,
            "timeout": _timeout,
            "flock": flock,
            **DISK_PROGRAMS,
        }

    async def run(self, line: str, io: Io) -> int:
        """Run one request to its end and give the exit status."""
        if self.machine.switches.command_delay:
            self.machine.switches.count("command_delay")
            await asyncio.sleep(self.machine.switches.command_delay)
        variables = {"HOME": self.files.home, "USER": USER, "LOGNAME": USER, "SHELL": "/bin/sh"}
        variables |= {"PATH": "/usr/local/bin:/usr/bin:/bin", "PWD": self.files.home}
        self.scripts.append(line)
        shell = Shell(self.tools, self.files, variables)
        try:
            return await shell.script(line, io)
        finally:
            shell.end()

    async def _df(self, _shell: Shell, _argv: list[str], io: Io) -> int:
        io.out(machine_text.df(self.machine))
        return 0

    async def _ip(self, _shell: Shell, argv: list[str], io: Io) -> int:
        if "addr" not in argv and "a" not in argv:
            io.error("practice: only `ip addr` is known here\n")
            return 1
        io.out(machine_text.interfaces(self.machine))
        return 0

    async def _nvidia_smi(self, _shell: Shell, argv: list[str], io: Io) -> int:
        io.out(machine_text.nvidia_smi(self.docker.engine, argv) or f"GPU 0: {machine_text.GPU} (practice)\n")
        return 0

    async def _uname(self, _shell: Shell, argv: list[str], io: Io) -> int:
        answers = {"-m": "aarch64", "-r": KERNEL, "-n": self.machine.name, "-s": "Linux"}
        whole = f"Linux {self.machine.name} {KERNEL} #16-Ubuntu SMP PREEMPT_DYNAMIC aarch64 aarch64 aarch64 GNU/Linux"
        io.out((whole if "-a" in argv else " ".join(answers.get(word, "Linux") for word in argv[1:] or ["-s"])) + "\n")
        return 0

    async def _hostname(self, _shell: Shell, _argv: list[str], io: Io) -> int:
        io.out(f"{self.machine.name}\n")
        return 0

    async def _mktemp(self, shell: Shell, argv: list[str], io: Io) -> int:
        """`mktemp -d [TEMPLATE]`."""
        template = next((word for word in argv[1:] if not word.startswith("-")), "/tmp/tmp.XXXXXXXX")  # noqa: S108
        path = shell.files.normal(template.rstrip("X") + self.machine.ids.hex()[:8], shell.folder)
        shell.files.make_folder(path)
        shell.files.modes[path] = 0o700
        io.out(f"{path}\n")
        return 0

    async def _sudo(self, _shell: Shell, argv: list[str], io: Io) -> int:
        """It asks for a password, but for what a fault allows: dropping the page cache."""
        if argv[1:] == ["-n", "tee", DROP_CACHES] and self.machine.switches.sudo:
            self.machine.switches.count("page_cache_dropped")
            self.machine.page_cache = 0
            io.stdout.write(await io.stdin.read())
            return 0
        io.error("sudo: a password is required\n")
        return 1

    async def _date(self, _shell: Shell, argv: list[str], io: Io) -> int:
        seconds = self.machine.clock.wall()
        io.out({"+%s": f"{int(seconds)}\n", "+%s.%N": f"{seconds:.9f}\n"}.get(([*argv, ""])[1], f"@{int(seconds)}\n"))
        return 0


async def _mkdir(shell: Shell, argv: list[str], io: Io) -> int:
    status = 0
    parents = "-p" in argv
    for word in (word for word in argv[1:] if not word.startswith("-")):
        path = shell.files.normal(word, shell.folder)
        there = not parents and shell.files.exists(path)
        try:
            shell.files.make_folder(path)
        except FileExistsError:
            there = True
        if there:
            io.error(f"mkdir: cannot create directory '{word}': File exists\n")
            status = 1
    return status


async def _rm(shell: Shell, argv: list[str], io: Io) -> int:
    options = "".join(word[1:] for word in argv[1:] if word.startswith("-"))
    status = 0
    for word in (word for word in argv[1:] if not word.startswith("-")):
        path = shell.files.normal(word, shell.folder)
        try:
            if "r" in options and path in shell.files.folders:
                shell.files.remove_folder(path)
            else:
                shell.files.remove(path)
        except OSError as error:
            if "f" not in options or path in shell.files.folders:
                io.error(f"rm: cannot remove '{word}': {error.strerror}\n")
                status = 1
    return status


async def _ls(shell: Shell, argv: list[str], io: Io) -> int:
    status = 0
    for word in [word for word in argv[1:] if not word.startswith("-")] or ["."]:
        path = shell.files.normal(word, shell.folder)
        if path in shell.files.folders:
            io.out("".join(f"{name}\n" for name in shell.files.names(path)))
        elif shell.files.exists(path):
            io.out(f"{word}\n")
        else:
            io.error(f"ls: cannot access '{word}': No such file or directory\n")
            status = 2
    return status


async def _chmod(shell: Shell, argv: list[str], io: Io) -> int:
    """`chmod MODE FILE...`, with a number or `a+rwx`."""
    status = 0
    for word in (word for word in argv[2:] if word != "--"):
        path = shell.files.normal(word, shell.folder)
        if not shell.files.exists(path):
            io.error(f"chmod: cannot access '{word}': No such file or directory\n")
            status = 1
        else:
            shell.files.modes[path] = 0o777 if argv[1] == "a+rwx" else int(argv[1], 8)
    return status


async def _mv(shell: Shell, argv: list[str], io: Io) -> int:
    """`mv -T OLD NEW`: exactly this name, also where there is a folder of that name (which must then be empty)."""
    match [word for word in argv[1:] if word != "--"]:
        case ["-T", old, new]:
            pass
        case _:
            io.error("mv: practice: only `mv -T OLD NEW` is known here\n")
            return 1
    try:
        shell.files.rename(shell.files.normal(old, shell.folder), shell.files.normal(new, shell.folder))
    except OSError as error:
        io.error(f"mv: cannot move '{old}' to '{new}': {error.strerror}\n")
        return 1
    return 0


async def _whoami(_shell: Shell, _argv: list[str], io: Io) -> int:
    io.out(f"{USER}\n")
    return 0


async def _id(_shell: Shell, argv: list[str], io: Io) -> int:
    whole = f"uid=1000({USER}) gid=1000({USER}) groups=1000({USER}),988(docker)"
    answers = {"-u": "1000", "-un": USER, "-nG": f"{USER} docker"}
    io.out(f"{answers.get(' '.join(argv[1:]), whole)}\n")
    return 0


async def _nproc(_shell: Shell, _argv: list[str], io: Io) -> int:
    io.out("20\n")
    return 0


async def _timeout(shell: Shell, argv: list[str], io: Io) -> int:
    """`timeout SECONDS PROGRAM ARGS`: the program's exit status, or 124."""
    if len(argv) < 3 or not argv[1].replace(".", "", 1).isdigit():  # noqa: PLR2004 - the time and a program
        io.error("timeout: practice: only `timeout SECONDS PROGRAM [ARG]...` is known here\n")
        return 125
    tool = shell.tools.get(argv[2].rpartition("/")[2])
    if tool is None:
        io.error(f"timeout: failed to run command '{argv[2]}': No such file or directory\n")
        return NOT_FOUND
    limit = asyncio.timeout(float(argv[1]) or None)
    try:
        async with limit:
            return await tool(shell, argv[2:], io)
    except TimeoutError:
        if not limit.expired():
            raise
        return 124

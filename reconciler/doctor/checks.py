"""Every check by name, in the order in which they are told: what it asks, and why that matters (docs/DOCTOR.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from reconciler.doctor.finding import Finding, Verdict


@dataclass(frozen=True, slots=True)
class Check:
    """One question."""

    asks: str
    why: str


CHECKS: Final[dict[str, Check]] = {
    "name": Check(
        "does its name lead to an address, by ~/.ssh/config and the resolver of this machine",
        "without an address there is nothing to connect to",
    ),
    "port": Check(
        "does something take connections at its SSH port",
        "all that sparkkeep sees and does goes over SSH",
    ),
    "ssh": Check(
        "is it an SSH server, and does it answer in time",
        "all that sparkkeep sees and does goes over SSH",
    ),
    "host-key": Check(
        "is its host key known here, and the same as before",
        "a key that nobody compared may be somebody else's machine, which would be given your commands and secrets",
    ),
    "login": Check(
        "does it take our user and key, without a password",
        "sparkkeep logs in at any hour, when nobody is there to type a password",
    ),
    "shell": Check(
        "does the login shell hand over to `sh`, and print nothing of its own",
        "what a shell prints as it starts stands before every answer, where data is expected",
    ),
    "tools": Check(
        "are the programs there that the commands on a Spark are made of",
        "nothing is installed on a Spark: its own programs do the work",
    ),
    "lease": Check(
        "is there a folder in memory where every user may leave a lease file",
        "the lease keeps two controllers from acting on one Spark at once; without it nothing is done there",
    ),
    "forwarding": Check(
        "does its SSH server forward the Engine's socket",
        "containers are read through it, at once and as they change; otherwise every look costs a few processes",
    ),
    "docker": Check(
        "is the docker command where a session without a terminal finds it",
        "containers are started and stopped with it",
    ),
    "docker-group": Check(
        "may the user talk to the Docker Engine without sudo",
        "every command to Docker would be refused",
    ),
    "docker-daemon": Check(
        "does the Docker Engine answer",
        "nothing can be started, and nobody knows what runs",
    ),
    "docker-version": Check(
        "is Docker new enough",
        "`--gpus` came with 19.03; older engines than 20.10 have not been tried and get no fixes",
    ),
    "gpu": Check(
        "does `nvidia-smi` answer, with which GPU and driver",
        "models run on the GPU",
    ),
    "gpu-runtime": Check(
        "can Docker give a GPU to a container",
        "models are started with `--gpus all`, which Docker refuses without NVIDIA's container toolkit",
    ),
    "disk-root": Check(
        "is there space where the system lives",
        "a full system disk stops logs, logins and Docker at once",
    ),
    "disk-docker": Check(
        "is there space where Docker keeps images",
        "an engine's image takes 10 to 25 GB, twice that while it is unpacked",
    ),
    "disk-weights": Check(
        "is there space where weights go, and may the user write there",
        "a model's weights take 5 to 120 GB; a fetch that finds no space is not begun",
    ),
    "memory": Check(
        "how much memory is free, and who holds the rest",
        "the GPU of a Spark uses the same memory: what does not fit is held back, since it can hang the machine",
    ),
    "swap": Check(
        "is swap on",
        "on a GB10 a start that takes too much then swaps for minutes, without even SSH, instead of failing soon",
    ),
    "clock": Check(
        "does its clock agree with ours",
        "registries and hubs refuse certificates and signed links from machines that live in another time",
    ),
    "fabric": Check(
        "where a group spans Sparks: is the fast network up, with an address and large frames",
        "the ranks of a group exchange data for every token",
    ),
    "ports": Check(
        "are the ports free that are declared for it",
        "a server that finds its port taken can't start; sparkkeep holds it back and leaves the other alone",
    ),
    "others": Check(
        "does another manager of models run there",
        "two managers start and stop against each other, and memory that one counts on is taken by the other",
    ),
    "sudo": Check(
        "which right beyond Docker would help",
        "with it the page cache can be dropped before a start, where it holds memory that the model needs",
    ),
}


def ok(check: str, message: str, *hint: str) -> Finding:
    """All is well. `hint`: a command that would make it better still."""
    return Finding(check=check, verdict=Verdict.OK, message=message, fix=hint, why=CHECKS[check].why if hint else "")


def warn(check: str, message: str, *fix: str, where: Literal["spark", "here"] = "spark", why: str = "") -> Finding:
    """It works, and something will be in the way one day."""
    return _found(Verdict.WARN, check, message, fix, where, why)


def fail(check: str, message: str, *fix: str, where: Literal["spark", "here"] = "spark", why: str = "") -> Finding:
    """It has to be mended before this Spark can be kept."""
    return _found(Verdict.FAIL, check, message, fix, where, why)


def unknown(check: str, message: str, *fix: str) -> Finding:
    """It could not be asked."""
    return _found(Verdict.UNKNOWN, check, message, fix, "spark", "")


def _found(
    verdict: Verdict, check: str, message: str, fix: tuple[str, ...], where: Literal["spark", "here"], why: str
) -> Finding:
    reason = why or CHECKS[check].why
    return Finding(check=check, verdict=verdict, message=message, why=reason, fix=fix, where=where)

"""Who sent each docker command to a host, and under which lease: written down on the host itself, before and after.

Each controller shows an SSH key of its own, and the host's SSH server gives what comes with that key its name. The lease
is read where the command holds it (descriptor 9, see `reconciler.lease`), when it begins and when it has ended.
"""

import fcntl
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.shell import call
from tests.hosts.tools import CONTROL, INSIDE, SSH_PATH
from tests.scenarios.stage import changing

FOLDER = "witness"
SENDER = "KEEP_SENDER"
SCRIPT = f"""#!/bin/bash
began=$EPOCHREALTIME
file={CONTROL}/{FOLDER}/sent/$began-$$
{{ IFS= read -r before </proc/self/fd/9; }} 2>/dev/null
printf '%s\\0' "$began" "${SENDER}" "$before" $# docker "$@" >"$file"
(exec -a docker {INSIDE}/ssh/docker "$@")
status=$?
{{ IFS= read -r after </proc/self/fd/9; }} 2>/dev/null
printf '%s\\0' "$EPOCHREALTIME" "$status" "$after" >>"$file"
exit $status
"""


@dataclass(frozen=True, order=True)
class Held:
    """A lease at one moment: nobody has the same token twice. `until` is the host's uptime in seconds."""

    token: int
    holder: str
    life: str
    until: int = field(default=0, compare=False)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A docker command that a host was sent. Times in seconds since 1970; no end if something killed it."""

    began: float
    sender: str
    lease: Held | None
    argv: tuple[str, ...]
    ended: float | None = None
    status: int | None = None
    after: Held | None = None

    @property
    def verb(self) -> str:
        return self.argv[1]

    @property
    def token(self) -> int:
        return self.lease.token if self.lease is not None else 0

    @property
    def name(self) -> str:
        """The container that a `run` makes."""
        return self.argv[self.argv.index("--name") + 1]

    def label(self, name: str) -> str:
        found = [word.partition("=")[2] for word in self.argv if word.startswith(f"{name}=")]
        assert len(found) == 1, self.argv
        return found[0]


class Witness:
    """Use as a context manager, on hosts that were reset; `keys` are the SSH keys of those who are told apart."""

    def __init__(self, fleet: Fleet, senders: Iterable[str]) -> None:
        self._fleet = fleet
        self.keys = {sender: fleet.base / f"key-of-{sender}" for sender in senders}

    def __enter__(self) -> Self:
        for key in self.keys.values():
            if not key.exists():
                call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "keep", "-f", str(key)])
        public = {sender: key.with_suffix(".pub").read_text() for sender, key in self.keys.items()}
        lines = [f'environment="{SENDER}={sender}" {line}' for sender, line in public.items()]
        for host in self._fleet.hosts:
            folder = host.control / FOLDER
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "sent").mkdir(parents=True)
            (folder / "docker").write_text(SCRIPT)
            (folder / "docker").chmod(0o755)
            (host.control / "authorized_keys").write_text("".join([self._own(), *lines]))
            host.sshd_option(f"PermitUserEnvironment {SENDER}")
            host.sshd_option(f"SetEnv PATH={CONTROL}/{FOLDER}:{SSH_PATH}")
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._fleet.hosts:
            (host.control / "authorized_keys").write_text(self._own())

    def _own(self) -> str:
        return self._fleet.key.with_suffix(".pub").read_text()

    def sent(self, host: Host) -> list[Sent]:
        """The commands that change something, in the order they began."""
        found = [_sent(file.read_bytes()) for file in (host.control / FOLDER / "sent").iterdir()]
        return sorted((each for each in found if changing([list(each.argv)])), key=lambda each: each.began)


def held(host: Host) -> Held | None:
    """The lease of a host as its file says now; None if nobody has it."""
    for file in host.leases():
        with file.open() as line:
            fcntl.flock(line, fcntl.LOCK_SH)  # who takes it writes alone
            return _held(line.readline())
    return None


def age(host: Host, holder: str) -> None:
    """As if this holder had said nothing for a minute; nothing if it is not the holder, or runs a command there."""
    for file in host.leases():
        with file.open("r+") as line:
            try:
                fcntl.flock(line, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            now = _held(line.readline())
            if now is not None and now.holder == holder:
                line.seek(0)
                line.write(f"{now.token} {now.holder} {now.life} 0 0 0\n")


def check_order(sent: list[Sent], holders: dict[str, str]) -> None:
    """On one host everybody acted in turn, each under the lease that it had. `holders` by sender."""
    owners: dict[int, Held] = {}
    for each in sent:
        assert each.lease is not None, f"without a lease: {each}"
        assert each.lease.holder == holders[each.sender], f"under another's lease: {each}"
        assert owners.setdefault(each.lease.token, each.lease) == each.lease, f"a token of two: {each}"
        assert each.ended is None or each.after == each.lease, f"taken over while it ran: {each}"
        assert each.verb != "run" or each.label("sparkkeep.fence") == str(each.lease.token), each
    for one, another in pairwise(sent):
        assert one.token <= another.token, f"a token came back: {one} before {another}"
    for token in owners:
        first = next(each.began for each in sent if each.token == token)
        late = [each for each in sent if each.token < token and (each.ended or each.began) > first]
        assert not late, f"still running when the next one began: {late}"


def _sent(record: bytes) -> Sent:
    began, sender, before, count, *rest = record.decode(errors="surrogateescape").split("\0")[:-1]
    many = int(count) + 1
    ending = rest[many:]
    return Sent(
        began=float(began),
        sender=sender,
        lease=_held(before),
        argv=tuple(rest[:many]),
        ended=float(ending[0]) if ending else None,
        status=int(ending[1]) if ending else None,
        after=_held(ending[2]) if ending else None,
    )


def _held(line: str) -> Held | None:
    words = line.split()
    return Held(int(words[0]), words[1], words[2], int(words[5])) if len(words) == 6 and words[1] != "-" else None

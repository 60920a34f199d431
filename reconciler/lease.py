"""The lease of a Spark: who may act on it, as a file on the Spark itself says. Pure: text out, text in.

One file for each owner (the label of our containers), in memory, so that a reboot clears it. Its one line is

    TOKEN HOLDER LIFE TAKEN RENEWED UNTIL

`TOKEN` rises with every take and stands in a label of all that is created under it. `HOLDER` names a data folder on
a machine, `LIFE` one run of sparkkeep on it. The times are seconds of the Spark's own uptime: no clock of ours counts.

A lock on that file (`flock`) makes it safe. Whoever takes the lease holds the lock alone; whoever renews it, or runs a
command that changes something, shares it. So nobody takes a Spark over while a command runs there, and a command whose
sender lost the lease meanwhile is refused by the Spark, which looks at the line before it runs anything.

The file is opened once and then read and written as `/proc/self/fd/9`: that is the file that the lock is on. It also
lets another user write into it: in a folder like /run/lock the kernel lets nobody create-or-open (O_CREAT, as `>` does)
somebody else's file by its name, whatever its mode.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from reconciler.moments import clock, minute
from reconciler.shell import join, quote

REFUSED: Final = 97  # exit status of a command that the Spark refused
MARK: Final = "sparkkeep-lease"
PATIENCE: Final = 5  # seconds for those who only look: a take is a matter of milliseconds
ENDING: Final = 2  # seconds for a command of an earlier holder to end, before the take is tried anew
FREE: Final = "-"  # in place of a holder
LINE: Final = re.compile(
    rf"^{MARK} (?P<word>[a-z]+) (?P<token>\d{{1,15}}) (?P<holder>\S{{1,200}}) (?P<life>\S{{1,64}})"
    r" (?P<taken>\d{1,10}) (?P<renewed>\d{1,10}) (?P<until>\d{1,10}) (?P<now>\d{1,10})$",
    re.MULTILINE | re.ASCII,
)
NUMBERS: Final = ("token", "taken", "renewed", "until")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a lease lasts, in seconds. All controllers of a Spark should agree on them."""

    lasts: int = 60
    margin: float = 15.0  # before its end nobody acts under it any more who could not renew it
    renew: float = 20.0
    look: float = 5.0  # how often those who want it look


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who we are to other controllers. `holder` is `ID@MACHINE`, the same in every run; `life` is this run's own."""

    holder: str
    life: str
    terms: Terms = Terms()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a lease lies: the first folder if everybody may write there (its sticky bit says so), else the second."""

    folders: tuple[str, str] = ("/run/lock", "/dev/shm")  # noqa: S108  # on the Spark; emptied by a reboot
    uptime: str = "/proc/uptime"

    def find(self, owner: str) -> str:
        """Lines of script that put the file's path into `$sk`."""
        first, second = (quote(folder) for folder in self.folders)
        return f'sk={first}; [ -k "$sk" ] || sk={second}; sk=$sk/{quote(f"sparkkeep-{owner}.lease")}'


HERE: Final = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """What a command must find on the Spark to be run there."""

    owner: str
    token: int
    holder: str
    life: str
    place: Place = HERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What is known of one Spark's lease. `reason` is empty while it is ours; else it says why nothing is done there.

    Times are Unix seconds of our clock, made from the Spark's own ages; 0 where there is no holder.
    """

    reason: str = "LeaseNotTaken"
    message: str = "its lease is not taken yet"
    token: int = 0
    holder: str = ""
    taken_at: float = 0.0
    renewed_at: float = 0.0
    expires_at: float = 0.0

    @property
    def ours(self) -> bool:
        """We may act on the Spark."""
        return not self.reason

    def told(self) -> str:
        """Why nothing is done there, in a sentence. It says the same until more is known: no clock ticks in it."""
        if self.reason != "LeaseHeld":
            return self.message
        who = f"{self.message} (since {minute(self.taken_at)}) keeps this Spark"
        return f"{who} and renewed its lease at {clock(self.renewed_at)}; this one only looks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a script of ours said: a word, and the lease as it then was. Times are ages in seconds."""

    word: str  # took | kept | freed | held | lost | busy | noflock | noplace
    token: int
    holder: str
    life: str
    taken_ago: int
    renewed_ago: int
    left: int


_SAY: Final = f"""\
sk_say() {{ printf '%s\\n' "{MARK} $1 $sk_token $sk_holder $sk_life $sk_taken $sk_renewed $sk_until $sk_now"; exit 0; }}
sk_none() {{ sk_token=0 sk_holder={FREE} sk_life={FREE} sk_taken=0 sk_renewed=0 sk_until=0; }}
sk_now=0; sk_none"""

# A line that is not whole, or from another boot, is nobody's.
_LOOK: Final = """\
sk_look() {
  read -r sk_token sk_holder sk_life sk_taken sk_renewed sk_until sk_rest </proc/self/fd/9
  for sk_n in "$sk_token" "$sk_taken" "$sk_renewed" "$sk_until"; do
    [ "$sk_n" -ge 0 ] 2>/dev/null || sk_none
  done
  IFS='. ' read -r sk_now sk_rest <UPTIME
}"""

_OPEN: Final = f"""\
[ -r "$sk" ] && [ -w "$sk" ] || sk_say WORD
exec 9<"$sk"
flock -s -w {PATIENCE} 9 || sk_say busy
sk_look"""

_WRITE: Final = """\
printf '%s\\n' "$sk_token $sk_holder $sk_life $sk_taken $sk_renewed $sk_until" 1<>/proc/self/fd/9 || sk_say noplace"""


def _beginning(owner: str, place: Place, *, missing: str, before: str = "") -> str:
    look = _LOOK.replace("UPTIME", quote(place.uptime))
    parts = (_SAY, look, place.find(owner), before, _OPEN.replace("WORD", missing))
    return "\n".join(part for part in parts if part)


def take(owner: str, me: Identity, *, floor: int, robbed: bool = False, place: Place = HERE) -> str:
    """A script that takes the lease if it is free, expired, or an earlier run's of the same holder.

    The token is then higher than `floor`. One that was `robbed` of it by a run with its own name (a copied data
    folder?) treats that one as any other.
    """
    make = '[ -f "$sk" ] || (umask 0; : >>"$sk") 2>/dev/null'
    same = "false" if robbed else f'[ "$sk_holder" = {quote(me.holder)} ]'
    mine = f'[ "$sk_holder $sk_life" = {quote(f"{me.holder} {me.life}")} ]'
    return "\n".join(
        (
            _beginning(
                owner, place, missing="noplace", before=f"command -v flock >/dev/null || sk_say noflock\n{make}"
            ),
            f'sk_theirs() {{ [ "$sk_holder" != {FREE} ] && ! {mine} && ! {same} &&',
            '  [ "$sk_renewed" -le "$sk_now" ] && [ "$sk_now" -le "$sk_until" ]; }',
            "sk_theirs && sk_say held",
            f"flock -x -w {ENDING} 9 || sk_say busy",
            "sk_look",
            "sk_theirs && sk_say held",
            f'[ "$sk_token" -ge {floor} ] || sk_token={floor}',
            f"sk_token=$((sk_token + 1)) sk_holder={quote(me.holder)} sk_life={quote(me.life)}",
            f"sk_taken=$sk_now sk_renewed=$sk_now sk_until=$((sk_now + {me.terms.lasts}))",
            _WRITE,
            "sk_say took",
        )
    )


def _ours(fence: Fence) -> str:
    return f'[ "$sk_token $sk_holder $sk_life" = {quote(f"{fence.token} {fence.holder} {fence.life}")} ]'


def renew(fence: Fence, lasts: int) -> str:
    """A script that lets the lease last so many seconds from now, if it is still ours."""
    return _rewrite(fence, f"sk_renewed=$sk_now sk_until=$((sk_now + {lasts}))", "kept")


def release(fence: Fence) -> str:
    """A script that gives the lease up, if it is still ours. The token stays, so that the next one is higher."""
    return _rewrite(fence, f"sk_holder={FREE} sk_life={FREE} sk_taken=0 sk_renewed=0 sk_until=0", "freed")


def _rewrite(fence: Fence, change: str, word: str) -> str:
    beginning = _beginning(fence.owner, fence.place, missing="lost")
    return "\n".join((beginning, f"{_ours(fence)} || sk_say lost", change, _WRITE, f"sk_say {word}"))


def fenced(script: str, fence: Fence) -> str:
    """`script`, run on the Spark only while the lease is ours; until it ends nobody else takes it.

    Refused, it exits with `REFUSED` and says so in a line that begins with `MARK`.
    """
    no = f"exit {REFUSED}; }}"
    return "\n".join(
        (
            fence.place.find(fence.owner),
            f'[ -r "$sk" ] || {{ echo "{MARK} gone"; {no}',
            'exec 9<"$sk"',
            f'flock -s -w {PATIENCE} 9 || {{ echo "{MARK} busy"; {no}',
            "read -r sk_token sk_holder sk_life sk_rest </proc/self/fd/9",
            f'{_ours(fence)} || {{ echo "{MARK} lost"; {no}',
            script,
        )
    )


def was_refused(status: int | None, stdout: str) -> bool:
    """Whether that is how a fenced command ended that was not run."""
    return status == REFUSED and stdout.startswith(f"{MARK} ")


def answer(stdout: str) -> Answer | None:
    """What a script said; None if that makes no sense."""
    found = LINE.search(stdout)
    if found is None:
        return None
    token, taken, renewed, until = (int(found[name]) for name in NUMBERS)
    now = int(found["now"])
    return Answer(
        word=found["word"],
        token=token,
        holder="" if found["holder"] == FREE else found["holder"],
        life=found["life"],
        taken_ago=max(0, now - taken),
        renewed_ago=max(0, now - renewed),
        left=until - now,
    )


def seen(said: Answer, owner: str, me: Identity, now: float) -> Lease:
    """The lease that the answer to a `take` tells of. `now` is Unix time."""
    if said.word == "took":
        reason = message = ""
    elif said.word == "held":
        reason, message = "LeaseHeld", _who(said.holder, me)
    elif said.word == "busy":
        reason = "LeaseBusy"
        message = (
            "a command of whoever kept this Spark before still runs there, or hangs: nothing is done before it has "
            f"ended (`fuser -v {HERE.folders[0]}/sparkkeep-{owner}.lease` on the Spark shows it)"
        )
    else:
        reason, message = "LeaseUnavailable", _LACKING.get(said.word, "the Spark's answer makes no sense")
    known = bool(said.holder)
    return Lease(
        reason=reason,
        message=message,
        token=said.token,
        holder=said.holder,
        taken_at=now - said.taken_ago if known else 0.0,
        renewed_at=now - said.renewed_ago if known else 0.0,
        expires_at=now + said.left if known else 0.0,
    )


_LACKING: Final = {
    "noflock": (
        "there is no `flock` on this Spark, without which two controllers could act on it at once: "
        f"install it ({join(('sudo', 'apt-get', 'install', 'util-linux'))})"
    ),
    "noplace": (
        f"neither {HERE.folders[0]} nor {HERE.folders[1]} on this Spark takes a lease file of this user: give one of "
        "them the mode 1777, or remove the lease file there if it is another user's"
    ),
}


def _who(holder: str, me: Identity) -> str:
    """`sparkkeep on HOST`, or what sets it apart from us there."""
    machine = holder.rpartition("@")[2]
    if holder == me.holder:
        return f"another sparkkeep on {machine} with a copy of this data folder"
    if machine == me.holder.rpartition("@")[2]:
        return f"another sparkkeep on {machine}, with a data folder of its own,"
    return f"sparkkeep on {machine}"

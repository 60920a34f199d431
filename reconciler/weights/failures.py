"""What it means when the hub, a peer or curl says no: a reason, plain words, and whether to try again. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.explain import Explanation

MAX_RETRY_AFTER: Final = 3600.0  # seconds; a hub that asks for more is asked again after this long
DEFAULT_RETRY_AFTER: Final = 60.0
HEADERS: Final = ("x-error-code", "x-error-message", "retry-after", "ratelimit", "link", "location")
THE_SECRET: Final = "the secret `hf` (sparkkeep secret set hf)"  # noqa: S105  # its name, not its value

# curl's exit statuses: what each means, and for which of them the other side can't be reached at all
CURL: Final = {
    5: ("ProxyUnknown", "the name of the proxy is not known to the Spark"),
    6: ("NameNotResolved", "the Spark can't find the address of {who}: is its DNS right, is it on the internet?"),
    7: ("Unreachable", "{who} can't be reached from the Spark: nothing answers there"),
    18: ("ConnectionCut", "{who} closed the connection before the file was whole"),
    28: ("Stalled", "{who} sent nothing for too long"),
    35: ("TlsFailed", "no encrypted connection with {who} came about"),
    47: ("TooManyRedirects", "{who} sent the Spark from one place to the next without end"),
    52: ("ConnectionCut", "{who} closed the connection without an answer"),
    55: ("ConnectionCut", "the connection with {who} broke"),
    56: ("ConnectionCut", "the connection with {who} broke"),
    60: ("CertificateRefused", "the certificate of {who} is not trusted by the Spark: is its clock right?"),
    92: ("ConnectionCut", "the connection with {who} broke"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was not fetched. `retry_after`: seconds to wait before it makes sense to ask again."""

    why: Explanation
    retry_after: float = 0.0


def refusal(reason: str, message: str, *, terminal: bool = False, retry_after: float = 0.0) -> Refusal:
    """A Refusal from its parts."""
    return Refusal(Explanation(reason, message, terminal), retry_after)


def of_http(status: int, headers: Mapping[str, str], *, what: str, who: str, token: bool) -> Refusal:
    """What an HTTP status means. `what` was asked for, `who` answered; `token`: whether we showed one."""
    code, words = headers.get("x-error-code", ""), headers.get("x-error-message", "")
    said = f" ({_clean(words)})" if words else ""
    if status == 429:  # noqa: PLR2004  # HTTP's own numbers read best as they are, here and below
        wait = retry_after(headers)
        return refusal("RateLimited", f"{who} asks for patience: again in {wait:.0f} s{said}", retry_after=wait)
    if code == "GatedRepo" or (status == 403 and "gated" in words.lower()):  # noqa: PLR2004
        return _gated(what, who, said, token=token)
    if status == 401:  # noqa: PLR2004
        if "invalid credentials" in words.lower():
            return refusal("TokenRefused", f"{who} does not know the token: set {THE_SECRET} anew{said}", terminal=True)
        hint = "or the token may not read it" if token else f"or it is private and needs {THE_SECRET}"
        return refusal("NotFound", f"{who} has no {what} for us: is the name right, {hint}?{said}", terminal=True)
    if status == 403:  # noqa: PLR2004
        hint = "the token may not read it" if token else f"it may need {THE_SECRET}"
        return refusal("Forbidden", f"{who} refuses {what}: {hint}{said}", terminal=True)
    if status == 404:  # noqa: PLR2004
        found = {"RevisionNotFound": "the revision is not there", "EntryNotFound": "the file is not there"}
        return refusal("NotFound", f"{who} has no {what}: {found.get(code, 'is the name right?')}{said}", terminal=True)
    if status >= 500 or status == 408:  # noqa: PLR2004
        return refusal("HubDown", f"{who} has trouble of its own (HTTP {status}){said}")
    return refusal("HubRefused", f"{who} answered HTTP {status} for {what}{said}")


def of_curl(status: int, text: str, *, who: str) -> Refusal:
    """What curl's exit status means. `text` is what it printed."""
    reason, words = CURL.get(status, ("CurlFailed", "curl failed with {who}"))
    said = _clean(re.sub(r"^curl: \(\d+\) ", "", text))
    return refusal(reason, words.format(who=who) + (f" ({said})" if said else f" (curl status {status})"))


def disk_full(needed: int, free: int, margin: int) -> Refusal:
    """The disk has no room. All in bytes. Not terminal: room can be made without a change of the declaration."""
    short = needed + margin - free
    return refusal(
        "DiskFull",
        f"{gib(needed)} are still to come and {gib(margin)} stay free, but the disk has {gib(free)}: "
        f"{gib(short)} too little. `sparkkeep weights gc` shows what could go",
    )


def disk_ran_full(path: str, who: str) -> Refusal:
    """A file could not be written to its end."""
    return refusal("DiskFull", f"the disk of the Spark ran full while {path} came from {who}; what came so far is kept")


def no_room_for_notes(path: str, said: str) -> Refusal:
    """The program could not write into its folder for temporary files what became of a file."""
    return refusal(
        "DiskFull",
        f"the Spark could not write down what became of {path}{said}: is its folder for temporary files (/tmp) full? "
        f"What came so far is kept",
    )


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait, as the hub says it: `Retry-After`, or the rest of the window in `RateLimit`."""
    text = headers.get("retry-after", "").strip()
    match = re.fullmatch(r"\d{1,6}", text) or re.search(r";\s*t=(\d{1,6})", headers.get("ratelimit", ""))
    seconds = float(match[match.lastindex or 0]) if match else DEFAULT_RETRY_AFTER
    return min(max(seconds, 1.0), MAX_RETRY_AFTER)


def gib(size: int) -> str:
    """Bytes for people."""
    if size < 2**20:
        return f"{size} bytes"
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _gated(what: str, who: str, said: str, *, token: bool) -> Refusal:
    rest = "with the account of that token" if token else f"and set {THE_SECRET} to a token of that account"
    return refusal("Gated", f"{what} is gated: accept its licence on its page at {who}, {rest}{said}", terminal=True)


def _clean(text: str) -> str:
    """The other side's words, short and on one line."""
    return " ".join(re.sub(r"[^\x20-\x7e]", " ", text).split())[:300]

"""A letter in the form that its address reads: JSON, Slack's, or ntfy's. Pure.

A letter has one notice, or many that came up at the same moment. Its words are the same in each form: what is wrong,
why, since when, and what to do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from api.notify.episodes import Notice, State
from api.notify.troubles import Trouble
from api.output import age
from state.notifications import Kind

SHOWN: Final = 20  # notices of one letter that are written out
NTFY_BODY: Final = 4000  # bytes; a longer one becomes an attachment
TITLE: Final = 200
PREFIX: Final[dict[State, str]] = {"firing": "", "resolved": "Resolved: ", "reminder": "Still: ", "test": ""}
PRIORITY: Final[dict[State, str]] = {"firing": "high", "resolved": "low", "reminder": "default", "test": "default"}
TAGS: Final[dict[State, str]] = {
    "firing": "warning",
    "resolved": "white_check_mark",
    "reminder": "hourglass",
    "test": "wrench",
}
ASCII_END: Final = 127


@dataclass(frozen=True, slots=True)
class Body:
    """What is posted."""

    content: bytes
    headers: dict[str, str]


def trial_notice(now: float) -> Notice:
    """For who wants to see whether an address works."""
    trouble = Trouble(
        subject="sparkkeep",
        reason="Test",
        title="A test from sparkkeep",
        message="This address works. Nothing is wrong",
        advice="",
    )
    return Notice(state="test", trouble=trouble, since=now, at=now)


def body(kind: Kind, notification: str, notices: Sequence[Notice]) -> Body:
    """The letter."""
    match kind:
        case "json":
            return _json(notification, notices)
        case "slack":
            return _slack(notices)
        case "ntfy":
            return _ntfy(notices)


def title(notices: Sequence[Notice]) -> str:
    """In a few words."""
    if len(notices) == 1:
        return _title(notices[0])[:TITLE]
    over = sum(notice.state == "resolved" for notice in notices)
    parts = [f"{len(notices) - over} things are wrong"] if len(notices) > over else []
    parts += [f"{over} things are over"] if over else []
    return ", ".join(parts)


def _title(notice: Notice) -> str:
    return PREFIX[notice.state] + notice.trouble.title


def _lines(notice: Notice) -> list[str]:
    """What is wrong and why, since when, and what to do."""
    trouble = notice.trouble
    lasted = age(notice.at - notice.since)
    if notice.state == "resolved":
        return [f"It is over, after {lasted}."]
    if notice.state == "test":
        return [f"{trouble.message}."]
    said = f"{trouble.message.rstrip('.')}." if trouble.message else ""
    return [
        part
        for part in (said, f"It has been so for {lasted}.", f"What to do: {trouble.advice}" if trouble.advice else "")
        if part
    ]


def _text(notices: Sequence[Notice]) -> list[str]:
    if len(notices) == 1:
        return _lines(notices[0])
    found = [f"- {_title(notice)}: {' '.join(_lines(notice))}" for notice in notices[:SHOWN]]
    return [*found, f"... and {len(notices) - SHOWN} more"] if len(notices) > SHOWN else found


def _json(notification: str, notices: Sequence[Notice]) -> Body:
    said = {
        "notification": notification,
        "title": title(notices),
        "text": "\n".join(_text(notices)),
        "notices": [
            {
                "state": notice.state,
                "topic": "test" if notice.state == "test" else notice.trouble.topic,
                "subject": notice.trouble.subject,
                "reason": notice.trouble.reason,
                "title": notice.trouble.title,
                "message": notice.trouble.message,
                "advice": notice.trouble.advice,
                "since": notice.since,
                "at": notice.at,
            }
            for notice in notices
        ],
    }
    return Body(json.dumps(said, ensure_ascii=False).encode("utf-8", "replace"), {"content-type": "application/json"})


def _slack(notices: Sequence[Notice]) -> Body:
    lines = "\n".join([f"*{title(notices)}*", *_text(notices)])
    text = lines.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Body(
        json.dumps({"text": text}, ensure_ascii=False).encode("utf-8", "replace"), {"content-type": "application/json"}
    )


def _ntfy(notices: Sequence[Notice]) -> Body:
    worst = max((notice.state for notice in notices), key=("resolved", "test", "reminder", "firing").index)
    content = "\n".join(_text(notices)).encode("utf-8", "replace")[:NTFY_BODY].decode("utf-8", "ignore").encode()
    return Body(
        content,
        {
            "content-type": "text/plain; charset=utf-8",
            "title": _header(title(notices)),
            "priority": PRIORITY[worst],
            "tags": TAGS[worst],
        },
    )


def _header(text: str) -> str:
    """Fit for a header, whatever it was: printable ASCII."""
    return "".join(mark if mark >= " " and ord(mark) < ASCII_END else "?" for mark in text)

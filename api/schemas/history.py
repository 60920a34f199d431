"""The history of the desired state, and how its files stand to git."""

from __future__ import annotations

from api.schemas.base import Shape


class CommitShape(Shape):
    """One change in the history."""

    revision: str
    time: float
    author: str
    subject: str
    reason: str
    files: list[str]


class RemoteShape(Shape):
    """How the last sync with the remote ended. `files` are in the way of one; it is away `since` then."""

    good: bool
    reason: str
    message: str
    upstream: str | None
    files: list[str]
    since: float | None


class CheckoutShape(Shape):
    """How the files stand to git. `dirty` are those that differ from the newest commit."""

    revision: str | None
    branch: str
    dirty: list[str]
    problem: str
    remote: RemoteShape | None


class HistoryShape(Shape):
    """Commits, newest first."""

    commits: list[CommitShape]
    checkout: CheckoutShape


class DiffShape(Shape):
    """What has changed in the desired state, as a unified diff: until `to`, or until the files as they are."""

    revision: str
    to: str | None
    diff: str

"""Deep health of sparkkeep itself: what it writes, what it reads, and what only it should be able to read."""

from __future__ import annotations

import asyncio
import stat
from typing import Final

from reconciler.findings import Finding, Outcome
from reconciler.loop import Loop
from state.follow import Checkout, Follow
from state.secrets import SecretRefused, Secrets

OTHERS: Final = 0o077


async def own(loop: Loop, secrets: Secrets | None, follow: Follow | None) -> list[Finding]:
    """The journal, the desired state, git and its remote, the secrets."""
    found = [_journal(await loop.history.journal.check(), loop), _desired(loop)]
    if follow is not None:
        found += _git(await follow.look())
    if secrets is not None:
        found.append(await asyncio.to_thread(_secrets, secrets))
    return found


def _found(check: str, outcome: Outcome, message: str) -> Finding:
    return Finding(kind="sparkkeep", name="sparkkeep", check=check, outcome=outcome, message=message)


def _journal(problem: str, loop: Loop) -> Finding:
    if problem:
        return _found("journal", "failed", problem)
    if lost := loop.history.journal.lost_writes:
        return _found("journal", "warning", f"it can be written to now, but {lost} writes were lost since the start")
    return _found("journal", "ok", "what is written to the journal is there to be read")


def _desired(loop: Loop) -> Finding:
    revision = loop.store.current.revision
    if not loop.store.problems:
        return _found("desired", "ok", f"{revision} is in force")
    more = len(loop.store.problems) - 1
    told = f"{loop.store.problems[0]}{f' (and {more} more)' if more else ''}"
    return _found("desired", "failed", f"{told}; {revision} stays in force: `sparkkeep validate` names every problem")


def _git(seen: Checkout) -> list[Finding]:
    if seen.problem:
        return [_found("git", "failed", seen.problem)]
    if seen.dirty:
        names = ", ".join(seen.dirty[:5])
        found = [_found("git", "warning", f"edited by hand and not committed: {names}")]
    else:
        found = [_found("git", "ok", "the desired state is committed")]
    if seen.remote is not None:
        good = seen.remote.good
        told = seen.remote.message or f"it has what we have ({seen.remote.reason})"
        found.append(_found("remote", "ok" if good else "failed", told))
    return found


def _secrets(secrets: Secrets) -> Finding:
    """Nobody else may list or read them. What they hold goes no further than here."""
    try:
        mode = secrets.folder.stat().st_mode
    except FileNotFoundError:
        return _found("secrets", "ok", "there are none")
    except OSError as error:
        return _found("secrets", "failed", f"{secrets.folder} can't be read: {error.strerror}")
    if stat.S_IMODE(mode) & OTHERS:
        what = f"{secrets.folder} is open to others; run: chmod 700 {secrets.folder}"
        return _found("secrets", "failed", what)
    names = secrets.names()
    for name in names:
        try:
            secrets.get(name)
        except SecretRefused as refused:
            return _found("secrets", "failed", str(refused))
    return _found("secrets", "ok", f"{len(names)} secrets, which only this user can read")

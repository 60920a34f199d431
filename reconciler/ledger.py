"""What the loop remembers of failures: how often, why, and when it may try again.

No I/O. The first failure of an instance is tried again at once, later ones after 10 s doubling to five minutes (or
what the settings say), a terminal one not until its declaration changes, or a secret that could mend it
(`reconciler.access`). Ten minutes of running well (the settings again), a changed spec or a person's `reset-backoff`
forget it all. Nothing here survives a restart of the controller: a fresh look at the Sparks is worth more than an old
grudge.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from reconciler.explain import HEALTHY_RESET, LAST_BACKOFF, Explanation, backoff
from reconciler.model import Container, Failure, Instance, Key, ProbeResult


class Ledger:
    """Failures by workload and Spark. Times are Unix seconds, given by the caller."""

    def __init__(
        self,
        rng: random.Random,
        *,
        longest: Callable[[], float] = lambda: LAST_BACKOFF,
        forgets: Callable[[], float] = lambda: HEALTHY_RESET,
    ) -> None:
        """`longest`: of the pauses; `forgets`: how long something has to be well. In seconds, asked for each time."""
        self._rng = rng
        self._longest = longest
        self._forgets = forgets
        self._failures: dict[Key, Failure] = {}
        self._counted: dict[str, float] = {}  # container id -> the end that was counted already
        self._expected: set[str] = set()  # containers whose next end is our own doing

    @property
    def failures(self) -> Mapping[Key, Failure]:
        """What failed and is not forgotten yet."""
        return self._failures

    def fail(self, key: Key, spec_hash: str, why: Explanation, now: float) -> Failure:
        """One more failure of this instance; the count starts anew for a new spec."""
        before = self._failures.get(key)
        count = before.count + 1 if before is not None and before.spec_hash == spec_hash else 1
        failure = Failure(
            count=count,
            reason=why.reason,
            message=why.message,
            spec_hash=spec_hash,
            at=now,
            terminal=why.terminal,
            retry_at=now + backoff(count, self._rng, self._longest()),
        )
        self._failures[key] = failure
        return failure

    def set_back(self, now: float) -> None:
        """A clock that was set back makes no wait longer: what it says is yet to happen has happened now."""
        for key, failure in self._failures.items():
            if failure.at > now:
                wait = max(0.0, failure.retry_at - failure.at)
                self._failures[key] = replace(failure, at=now, retry_at=now + wait)

    def shorten(self) -> None:
        """No pause under way is longer than the longest that there may be now."""
        for key, failure in self._failures.items():
            if failure.retry_at > (latest := failure.at + self._longest()):
                self._failures[key] = replace(failure, retry_at=latest)

    def take_back(self, key: Key, before: Failure | None) -> None:
        """What was counted as a failure was none: as it was `before`."""
        if before is None:
            self._failures.pop(key, None)
        else:
            self._failures[key] = before

    def expect_end(self, container: str) -> None:
        """We are about to stop this container: its end is no failure."""
        self._expected.add(container)

    def ended(self, instance: Instance, container: Container, now: float) -> Failure | None:
        """Count the end of a container that should run, once. None if it was counted before or is our doing."""
        if self._counted.get(container.id) == container.finished_at:
            return None
        self._counted[container.id] = container.finished_at
        if container.id in self._expected:
            self._expected.discard(container.id)
            return None
        key = (instance.workload, instance.spark)
        ran = container.finished_at - container.started_at
        if ran >= self._forgets():
            self.forget(key)
        what = "was killed for lack of memory" if container.oom_killed else f"exited with status {container.exit_code}"
        reason = "OutOfMemory" if container.oom_killed else "ContainerExited"
        message = f"its container {what} after {max(ran, 0.0):.0f} s"
        return self.fail(key, instance.spec_hash, Explanation(reason, message, terminal=False), now)

    def excuse(self, containers: Iterable[Container]) -> None:
        """The machine or its engine went down: these ends are nobody's failure."""
        for container in containers:
            if not container.running:
                self._counted[container.id] = container.finished_at

    def reword(self, key: Key, spec_hash: str, why: Explanation, log: tuple[str, ...]) -> Failure | None:
        """The log explains a failure better than its exit status did. None if it was forgotten meanwhile."""
        failure = self._failures.get(key)
        if failure is None or failure.spec_hash != spec_hash:
            return None
        # A first failure is always given its one retry: the machine may have been at fault, not the flag. And a log
        # that is read late says nothing about the secrets that have come since.
        terminal = why.terminal and failure.count > 1 and not failure.renewed
        self._failures[key] = replace(failure, reason=why.reason, message=why.message, terminal=terminal, log=log)
        return self._failures[key]

    def settle(self, key: Key, container: Container, probe: ProbeResult | None, *, probed: bool, now: float) -> None:
        """Forget the failures of an instance that has been well for long enough."""
        failure = self._failures.get(key)
        if failure is None or container.state != "running" or (probed and not (probe and probe.ready)):
            return
        since = max(failure.at, probe.ready_at if probed and probe else failure.retry_at)  # it has not run before that
        if now - since >= self._forgets():
            self.forget(key)

    def renew(self, key: Key, now: float) -> None:
        """Its secrets have changed since: it may try again at once. Nothing happens if it was forgotten meanwhile."""
        failure = self._failures.get(key)
        if failure is not None:
            self._failures[key] = replace(failure, terminal=False, retry_at=now, renewed=True)

    def forget(self, key: Key) -> None:
        """The failures of one instance no longer count."""
        self._failures.pop(key, None)

    def forget_workload(self, workload: str) -> None:
        """A person says: try again now."""
        for key in [key for key in self._failures if key[0] == workload]:
            del self._failures[key]

    def keep_only(self, keys: set[Key], containers: set[str]) -> None:
        """Drop what nobody can ask for any more, so that a long life costs no memory."""
        self._failures = {key: failure for key, failure in self._failures.items() if key in keys}
        self._counted = {container: at for container, at in self._counted.items() if container in containers}
        self._expected &= containers

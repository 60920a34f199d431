"""How often: a bucket that fills steadily and from which each use takes. Pure: the time is an argument."""

from __future__ import annotations


class Bucket:
    """At most a minute's worth at once. It may be overdrawn by what is known only afterwards: then it has to fill."""

    __slots__ = ("_at", "_left", "per_minute")

    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self._left = float(per_minute)
        self._at = now

    def left(self, now: float) -> float:
        """What is in it."""
        if now > self._at:
            self._left = min(float(self.per_minute), self._left + (now - self._at) * self.per_minute / 60)
            self._at = now
        return self._left

    def wait(self, now: float, need: float = 1.0) -> float:
        """Seconds until so much is in it; 0 if it is."""
        lacks = need - self.left(now)
        return max(0.0, lacks * 60 / self.per_minute)

    def take(self, now: float, amount: float = 1.0) -> None:
        """Use so much of it."""
        self._left = self.left(now) - amount

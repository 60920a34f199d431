"""The limits of waiting, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass

from state.desired import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Durations in seconds."""

    length: int = 100
    """Requests that may wait for one model."""
    total: int = 1000
    """Requests that may wait in all."""
    longest: float = 600.0
    """No request waits longer."""
    patience: float = 2.0
    """After how many times its expected load time a model that waits for room has a right to it."""
    most_patience: float = 120.0
    """It has that right after this long at the latest."""
    stay: float = 30.0
    """A model that was started serves at least this long before it has to give way: see `stay_for`."""
    linger: float = 1.0
    """A model that has been without requests for this long gives way at once."""

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """As the settings say now."""
        queue = settings.queue
        return cls(
            length=queue.length,
            total=queue.total,
            longest=queue.longest_wait,
            patience=queue.patience,
            most_patience=queue.longest_patience,
            stay=queue.shortest_stay,
        )

    def patience_for(self, load: float) -> float:
        """How long a model whose start takes `load` seconds lets others go on before it has a right to its room."""
        return min(self.patience * load, self.most_patience)

    def stay_for(self, load: float) -> float:
        """How long one whose start took `load` seconds is left in peace: a Spark shall serve as long as it loads."""
        return max(self.stay, min(load, self.most_patience))

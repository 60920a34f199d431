"""All scenarios, by name."""

from tests.scenarios import changes, guarded, lasting, people
from tests.scenarios.play import ALL

__all__ = ["ALL", "changes", "guarded", "lasting", "people"]

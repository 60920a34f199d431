"""All scenarios, by name."""

from tests.scenarios import changes, given, guarded, lasting, people
from tests.scenarios.play import ALL

__all__ = ["ALL", "changes", "given", "guarded", "lasting", "people"]

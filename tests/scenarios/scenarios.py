"""All scenarios, by name."""

from tests.scenarios import changes, given, groups, guarded, lasting, people
from tests.scenarios.play import ALL

__all__ = ["ALL", "changes", "given", "groups", "guarded", "lasting", "people"]

"""All scenarios, by name."""

from tests.scenarios import builds, changes, given, groups, guarded, lasting, people
from tests.scenarios.play import ALL

__all__ = ["ALL", "builds", "changes", "given", "groups", "guarded", "lasting", "people"]

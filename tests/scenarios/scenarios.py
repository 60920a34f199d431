"""All scenarios, by name."""

from tests.scenarios import changes
from tests.scenarios.play import ALL

__all__ = ["ALL", "changes"]

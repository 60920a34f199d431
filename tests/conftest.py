"""For all tests: those of one group run in one process, one after the other; and no law depends on how fast this machine is."""

from __future__ import annotations

import pytest
from _pytest.nodeid import coerce_node_id
from hypothesis import HealthCheck, settings

from api.collector import settle

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tell pytest-xdist of the groups: version 3.8 writes them where pytest has not looked since 9.2."""
    if not config.getoption("loadgroup", default=False):
        return
    for item in items:
        if (mark := item.get_closest_marker("xdist_group")) is not None and "@" not in item.nodeid.rpartition("]")[2]:
            item._id = coerce_node_id(f"{item.nodeid}@{mark.args[0]}")


def pytest_collection_finish() -> None:
    """The tests themselves stay: a look for garbage need not go through a million of their objects each time."""
    settle()

"""Fixtures for tests on real hosts: `fleet` and `registry` once a run, `hosts` clean for each test."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.hosts import images
from tests.hosts.fleet import BusyError, Fleet, claim, missing, sweep
from tests.hosts.host import Host
from tests.hosts.registry import Registry

_SLOTS = {("sk" if slot == 0 else f"sk{slot}"): f"10.{78 + slot}" for slot in range(8)}  # runs side by side


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.hosts)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two hosts with engines and the test images, until the run ends."""
    reason = missing()
    if reason and os.environ.get("SPARKKEEP_REQUIRE_HOSTS") == "1":
        pytest.fail(f"SPARKKEEP_REQUIRE_HOSTS=1, but {reason}")
    if reason:
        pytest.skip(reason)
    with ExitStack() as stack:
        running = _first_free(stack, tmp_path_factory.mktemp("hosts"))
        images.load_all(running)
        yield running


@pytest.fixture(scope="session")
def registry(fleet: Fleet) -> Iterator[Registry]:
    """A registry that serves the test images to the fleet."""
    with Registry.up(fleet) as serving:
        yield serving


@pytest.fixture
def hosts(fleet: Fleet) -> list[Host]:
    """Return the fleet's hosts: up, without containers, faults or counted commands."""
    fleet.each(Host.reset)
    return fleet.hosts


def _first_free(stack: ExitStack, base: Path) -> Fleet:
    for name in _SLOTS:  # what killed runs left, in any slot
        with suppress(BusyError), claim(name):
            sweep(name)
    for name, network in _SLOTS.items():
        with suppress(BusyError):
            return stack.enter_context(Fleet.up(2, base, name=name, network=network))
    raise BusyError(f"all of {', '.join(_SLOTS)} are in use")

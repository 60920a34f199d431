"""Three doors, each opened once: without a token, with one, and with proxies that every page may call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.guard.bearer import Token
from tests.security.door import Door, opened

FRIEND = "http://chat.lan:3000"
WORD = "k33p-" + "0123456789abcdef" * 2


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Pages of FRIEND may call its proxies."""
    with opened(tmp_path_factory.mktemp("door"), origins=(FRIEND,)) as made:
        yield made


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """It asks for WORD."""
    with opened(tmp_path_factory.mktemp("locked"), origins=(FRIEND,), token=Token(WORD)) as made:
        yield made


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Every page may call its proxies."""
    with opened(tmp_path_factory.mktemp("wide"), origins=("*",)) as made:
        yield made


@pytest.fixture
def untouched(door: Door) -> Iterator[Door]:
    """The door; afterwards everything behind it is as it was."""
    before = door.stands()
    yield door
    assert door.stands() == before

"""Which sparkkeep this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _version() -> str:
    try:
        return version("sparkkeep")
    except PackageNotFoundError:  # run from a checkout that nobody installed
        return "0+unknown"


VERSION: Final = _version()

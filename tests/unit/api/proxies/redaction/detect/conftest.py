"""One finder with names and one without, for all tests: loading the model takes seconds."""

from __future__ import annotations

import pytest

from api.proxies.redaction.detect import DetectionSettings
from api.proxies.redaction.detect.local import Finder


@pytest.fixture(scope="session")
def patterns() -> Finder:
    return Finder(DetectionSettings(ner=False))


@pytest.fixture(scope="session")
def names() -> Finder:
    return Finder(DetectionSettings())

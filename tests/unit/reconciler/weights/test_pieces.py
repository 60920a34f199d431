"""The pure parts: progress, the look, completeness, the words for failures, the lines of the program."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.shell import split
from reconciler.weights import failures
from reconciler.weights.cache import (
    PART,
    Found,
    LookFailed,
    Want,
    bytes_needed,
    completeness,
    folder_of,
    read_look,
)
from reconciler.weights.download import Pace, Said, Source, deal, download, read_line
from reconciler.weights.endpoint import SourceRefused, check_endpoint, check_token, read_reply
from reconciler.weights.progress import Pace as Counts
from reconciler.weights.progress import bytes_done
from reconciler.weights.repo_files import Listing, RepoFile
from reconciler.weights.tally import Tally

COMMIT = "a" * 40
A, B, C = "1" * 64, "2" * 40, "3" * 64
FILES = (
    RepoFile("w.safetensors", 100, A, "sha256"),
    RepoFile("d/x.json", 8, B, "git"),
    RepoFile("y.json", 8, B, "git"),
)
LISTING = Listing("o/m", "main", COMMIT, FILES)
WANT = Want("o/m")
LOOK = f"""free /dev/nvme0n1p2 3844510720 200 1000 6% /
blob 100 {A}
blob 7 {B}
blob 40 {C}{PART}
blob 5 {C}.12345678.incomplete
blob x {C}
link 0
link 9
ref {COMMIT}
tree
end
"""


# Progress


def test_rate_and_time_left() -> None:
    pace = Counts()
    for moment, done in ((0.0, 100), (0.5, 150), (2.0, 300), (4.0, 500)):
        pace = pace.then(moment, done)
    step = pace.progress(1500, files_done=1, files=4, source="hub")
    assert (step.done, step.total, step.rate, step.eta) == (500, 1500, 100.0, 10.0)
    assert Counts().then(0.0, 5).then(0.5, 9).progress(10, files_done=0, files=1, source="").eta is None
    assert Counts().then(0.0, 5).then(9.0, 5).progress(10, files_done=0, files=1, source="").eta is None
    assert Counts().then(0.0, 10).progress(10, files_done=1, files=1, source="").eta == 0.0
    old = Counts().then(0.0, 0).then(100.0, 10).then(102.0, 30)
    assert old.rate == 10.0  # only what the window shows
    assert old.then(103.0, 4).samples == ((103.0, 4),)  # a file was thrown away


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 2**50)), max_size=20), st.integers(0, 2**50))
def test_figures_are_never_absurd(samples: list[tuple[float, int]], total: int) -> None:
    pace = Counts()
    for moment, done in samples:
        pace = pace.then(moment, done)
    step = pace.progress(total, files_done=0, files=0, source="")
    assert 0 <= step.done <= total
    assert step.rate >= 0
    assert step.eta is None or step.eta >= 0


def test_bytes_that_count() -> None:
    assert bytes_done([10, 20], [(5, 9), (12, 9)]) == 10 + 20 + 5 + 9


# The look


def test_what_a_look_says() -> None:
    found = read_look(LOOK, FILES)
    assert found == Found(1000 * 1024, {A: 100, B: 7}, {C: 40}, frozenset({"w.safetensors"}), ref=COMMIT, tree=True)
    state = completeness(WANT, LISTING, FILES, found)
    assert [f.etag for f in state.missing] == [B]  # once, though two paths lead to it
    assert [f.path for f in state.unlinked] == ["d/x.json", "y.json"]
    assert (state.whole, state.total, state.ref_stale) == (False, 108, False)
    assert bytes_needed(state, found) == 8
    assert bytes_needed(state, Found(0, {}, {B: 3}, frozenset())) == 5


@pytest.mark.parametrize("cut", range(len(LOOK) - 4))
def test_a_look_that_is_cut_short_says_nothing(cut: int) -> None:
    with pytest.raises(LookFailed):
        read_look(LOOK[:cut], FILES)


def test_a_look_without_room_says_nothing() -> None:
    with pytest.raises(LookFailed, match="how much room"):
        read_look("blob 1 x\nend\n", FILES)


def test_a_revision_is_whole_with_its_name() -> None:
    there = Found(0, {A: 100, B: 8}, {}, frozenset({"w.safetensors", "d/x.json", "y.json"}), ref=COMMIT)
    assert completeness(WANT, LISTING, FILES, there).whole
    moved = Found(0, there.blobs, {}, there.links, ref="b" * 40)
    assert completeness(WANT, LISTING, FILES, moved).ref_stale
    assert completeness(Want("o/m", COMMIT), LISTING, FILES, moved).whole  # a commit needs no name
    assert folder_of("o/m.x") == "models--o--m.x"


# Words


@pytest.mark.parametrize(
    ("status", "headers", "token", "reason", "terminal"),
    [
        (401, {"x-error-code": "GatedRepo"}, False, "Gated", True),
        (403, {"x-error-code": "GatedRepo"}, True, "Gated", True),
        (403, {"x-error-message": "Access to gated model"}, True, "Gated", True),
        (401, {"x-error-message": "Invalid credentials in Authorization header"}, True, "TokenRefused", True),
        (401, {"x-error-code": "RepoNotFound"}, False, "NotFound", True),
        (403, {}, False, "Forbidden", True),
        (404, {"x-error-code": "EntryNotFound"}, False, "NotFound", True),
        (408, {}, False, "HubDown", False),
        (429, {"retry-after": "5"}, False, "RateLimited", False),
        (500, {}, False, "HubDown", False),
        (504, {}, False, "HubDown", False),
        (418, {}, False, "HubRefused", False),
    ],
)
def test_http(status: int, headers: dict[str, str], token: bool, reason: str, terminal: bool) -> None:
    said = failures.of_http(status, headers, what="x of o/m", who="hub", token=token)
    assert (said.why.reason, said.why.terminal) == (reason, terminal)
    assert "hub" in said.why.message


def test_gated_says_what_to_do() -> None:
    no_token = failures.of_http(401, {"x-error-code": "GatedRepo"}, what="o/m", who="huggingface.co", token=False)
    assert no_token.why.message == (
        "o/m is gated: accept its licence on its page at huggingface.co, "
        "and set the secret `hf` (sparkkeep secret set hf) to a token of that account"
    )
    token = failures.of_http(403, {"x-error-code": "GatedRepo"}, what="o/m", who="huggingface.co", token=True)
    assert token.why.message.endswith(
        "accept its licence on its page at huggingface.co, with the account of that token"
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "17"}, 17.0),
        ({"retry-after": "0"}, 1.0),
        ({"retry-after": "999999"}, 3600.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60.0),
        ({"ratelimit": '"api";r=0;t=55'}, 55.0),
        ({}, 60.0),
    ],
)
def test_patience(headers: dict[str, str], seconds: float) -> None:
    assert failures.retry_after(headers) == seconds


def test_curl() -> None:
    cut = failures.of_curl(18, "curl: (18) transfer closed with 3 bytes remaining\x1b[2J", who="hub")
    assert cut.why.message == (
        "hub closed the connection before the file was whole (transfer closed with 3 bytes remaining [2J)"
    )
    assert failures.of_curl(6, "", who="h").why.reason == "NameNotResolved"
    assert failures.of_curl(99, "", who="h").why.message == "curl failed with h (curl status 99)"


# The program


def test_endpoints_and_tokens() -> None:
    assert check_endpoint("https://huggingface.co/") == "https://huggingface.co"
    assert check_endpoint("http://[fe80::1]:8080/mirror") == "http://[fe80::1]:8080/mirror"
    for bad in (
        "",
        "ftp://x",
        "file:///etc/passwd",
        "https://",
        "https://a b",
        "https://u:p@h",
        "https://h/../x",
        "-x",
        "https://h\n",
    ):
        with pytest.raises(SourceRefused):
            check_endpoint(bad)
    assert check_token("hf_Ab1", "https://huggingface.co") == "hf_Ab1"
    for bad in ('a"', "a\nb", "a b", "é", 'x" url = "file:///etc/passwd'):
        with pytest.raises(SourceRefused) as refused:
            check_token(bad, "https://huggingface.co")
        assert bad not in str(refused.value)
    with pytest.raises(SourceRefused, match="not encrypted"):
        check_token("hf_x", "http://mirror.lan")
    assert check_token("", "http://mirror.lan") == ""


def test_replies() -> None:
    reply = read_reply(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/2 404 \r\nX-Error-Code: RepoNotFound\r\nA: b: c\r\n\r\nbody\n\nmore"
    )
    assert reply is not None
    assert (reply.status, reply.headers, reply.body) == (
        404,
        {"x-error-code": "RepoNotFound", "a": "b: c"},
        "body\n\nmore",
    )
    for text in ("", "hello", "HTTP/1.1 200 OK", "HTTP/1.1 100 Continue\r\n\r\n", "<html>\n\n"):
        assert read_reply(text) is None


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(1, 5))
def test_lanes_hold_every_file_once(sizes: list[int], lanes: int) -> None:
    files = [RepoFile(str(n), size, f"{n:040x}", "git") for n, size in enumerate(sizes)]
    dealt = deal(files, lanes)
    assert sorted((f for lane in dealt for f in lane), key=lambda f: int(f.path)) == files
    assert len(dealt) == min(lanes, len(files))
    assert all(dealt)


def test_every_value_of_the_script_is_one_quoted_argument() -> None:
    nasty = RepoFile("-rf $(touch x)/a'b `id`", 5, C, "sha256")
    state = completeness(WANT, Listing("o/m", "main", COMMIT, (nasty,)), [nasty], Found(0, {}, {}, frozenset()))
    source = Source("hub", "https://hub", {C: "https://hub/$(id)"}, "hf_x")
    text = download(WANT, LISTING, state, source, Pace(), forget_tree=True)
    lines = text.splitlines()
    at = lines.index("lane_0() {")
    assert split(lines[at + 1]) == ("fetch", "0", C, "sha256", "5", "https://hub/$(id)")
    assert [split(line) for line in lines[lines.index("await") + 1 :]] == [
        ("link", "-rf $(touch x)", nasty.path, f"../../../blobs/{C}"),
        ("name", "", "main"),
        ("rm", "-f", "--", f"trees/{COMMIT}.json"),
        ("say", "whole"),
        ("stop", "0"),
    ]
    assert """auth='header = "Authorization: Bearer hf_x"'""" in lines


def test_lines() -> None:
    assert read_line("got 3") == Said("got", 3)
    assert read_line("fail - folder 0") == Said("fail", -1, "folder 0")
    assert read_line("head 0 retry-after 5") == Said("head", 0, "retry-after 5")
    assert read_line(f"part 7 {C}{PART}") == Said("part", -1, f"7 {C}{PART}")
    assert read_line("whole") == Said("whole")
    for noise in ("", "mkdir: cannot create", "got x", "got", "holes", "fail 1234567 x"):
        assert read_line(noise) is None


@given(st.lists(st.text(max_size=20) | st.from_regex(r"(got|again|fail|head|text|part|check) (\d{1,3}|-)( \w* ?\w*)?")))
def test_no_line_confuses_the_tally(lines: list[str]) -> None:
    found = Found(0, {A: 100}, {B: 3}, frozenset())
    tally = Tally(completeness(WANT, LISTING, FILES, found), found, "hub", lambda: 0.0)
    assert tally.done == 103
    for line in lines:
        tally.take(line)
        assert 100 <= tally.done <= 108
    if not tally.whole:
        assert tally.verdict(WANT, token=True).why.reason

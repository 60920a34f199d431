"""Conditions, secrets, bells."""

import asyncio
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.bell import Bell
from state.conditions import Condition, merge
from state.secrets import SecretRefused, Secrets

statuses = st.sampled_from(["True", "False", "Unknown"])
conditions = st.builds(
    Condition,
    type=st.sampled_from("ABC"),
    status=statuses,
    reason=st.sampled_from(["X", "Y"]),
    message=st.text(max_size=3),
)


@given(st.lists(st.lists(conditions, max_size=3), max_size=8))
def test_a_condition_keeps_its_time_until_its_status_flips(rounds):
    state, since = (), {}
    for now, new in enumerate(rounds, start=1):
        for condition in new:
            if since.get(condition.type, (None, 0))[0] != condition.status:
                since[condition.type] = (condition.status, float(now))
        state = merge(state, new, float(now))
        assert {c.type: (c.status, c.last_transition_time) for c in state} == since
        assert [c.type for c in state] == sorted(since)


def test_a_new_reason_moves_no_time_but_is_told():
    old = merge((), [Condition(type="Ready", status="False", reason="A")], 10.0)
    (new,) = merge(old, [Condition(type="Ready", status="False", reason="B", observed_generation=2)], 20.0)
    assert (new.reason, new.last_transition_time, new.observed_generation) == ("B", 10.0, 2)
    assert new.as_dict() == {
        "type": "Ready",
        "status": "False",
        "reason": "B",
        "message": "",
        "observedGeneration": 2,
        "lastTransitionTime": "1970-01-01T00:00:10Z",
    }


@pytest.fixture
def secrets(tmp_path):
    return Secrets(tmp_path / "secrets")


def test_a_secret_goes_in_and_comes_out(secrets):
    assert secrets.names() == ()
    secrets.set("hf", "hf_äbc")
    assert secrets.get("hf") == "hf_äbc"
    assert (secrets.folder / "hf").stat().st_mode & 0o777 == 0o600
    assert secrets.folder.stat().st_mode & 0o777 == 0o700
    secrets.set("hf", "other")
    assert secrets.get("hf") == "other"
    assert secrets.names() == ("hf",)
    assert [p.name for p in secrets.folder.iterdir()] == ["hf"]
    assert "other" not in repr(secrets)


def written(secrets, data, mode=0o600):
    secrets.folder.mkdir(exist_ok=True)
    path = secrets.folder / "s"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("data", "value"), [(b"a\n", "a"), (b"a\r\n", "a"), (b"a", "a"), (b" a ", " a ")])
def test_one_newline_at_the_end_is_an_editors(secrets, data, value):
    written(secrets, data)
    assert secrets.get("s") == value


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"a\n\n", b"TOP\nSECRET", b"TOP\0SECRET", b"\xffTOP", b"TOP\rSECRET", b"x" * 40_000]
)
def test_what_is_no_line_is_refused_and_not_repeated(secrets, data):
    written(secrets, data)
    with pytest.raises(SecretRefused) as caught:
        secrets.get("s")
    assert "TOP" not in str(caught.value)
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666])
def test_a_file_that_others_can_read_is_refused_with_the_cure(secrets, mode):
    path = written(secrets, b"v", mode)
    with pytest.raises(SecretRefused, match=f"chmod 600 {path}"):
        secrets.get("s")
    assert secrets.names() == ("s",)


def test_a_file_of_another_user_is_refused(secrets, monkeypatch):
    written(secrets, b"v")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(SecretRefused, match="chown 12345"):
        secrets.get("s")


@pytest.mark.parametrize("name", ["../x", "", ".", "a/b", "A", "x" * 64, "a\n"])
def test_names_are_names(secrets, name):
    for call in (lambda: secrets.get(name), lambda: secrets.set(name, "v")):
        with pytest.raises(SecretRefused, match="lower-case"):
            call()


def test_missing_folder_pipe_and_bad_values(secrets):
    with pytest.raises(SecretRefused, match="there is no secret nope"):
        secrets.get("nope")
    secrets.folder.mkdir()
    os.mkfifo(secrets.folder / "pipe", 0o600)
    with pytest.raises(SecretRefused, match="not a file"):
        secrets.get("pipe")
    (secrets.folder / "dir").mkdir()
    with pytest.raises(SecretRefused):
        secrets.get("dir")
    for value in ("a\nb", "", "a\0b", "\ud800"):
        with pytest.raises(SecretRefused):
            secrets.set("bad", value)
    assert "bad" not in secrets.names()


async def test_rings_melt_into_one_and_none_is_missed():
    bell = Bell()
    with bell.subscribe() as one, bell.subscribe() as two:
        bell.ring()
        bell.ring()
        assert await one.wait(5)
        assert not await one.wait(0.01)
        assert await two.wait(5)
        bell.ring()
        assert await one.wait(5)
    bell.ring()
    assert not await one.wait(0.01)


async def test_a_bell_may_be_rung_from_another_thread():
    bell = Bell()
    with bell.subscribe() as follower:
        thread = threading.Thread(target=bell.ring)
        thread.start()
        async with asyncio.timeout(10):
            async for _ in follower:
                break
        thread.join()


def test_a_follower_of_a_closed_loop_is_forgotten():
    bell = Bell()

    async def follow():
        bell.subscribe()

    asyncio.run(follow())
    bell.ring()
    assert not bell._followers

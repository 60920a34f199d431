"""The map on the disk: nothing in plain text, no conversation in another, no key but its own."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap

import pytest

from api.proxies.redaction.finds import Find
from api.proxies.redaction.restore import restore
from api.proxies.redaction.vault import DAY, Vault, VaultRefused

SECRETS = ["Wilhelmina Quackenbush", "wilhelmina@quackenbush.example", "DE89370400440532013000"]
SESSION = "session-of-the-quackenbush-case"
OWNER = "laptop-of-the-clerk"


def mask(conversation, value, kind="PERSON"):
    return conversation.mask(value, [Find(0, len(value), kind, 1.0)])


class Time:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def path(tmp_path):
    return tmp_path / "map" / "redaction.db"


async def filled(vault, name=SESSION, owner=OWNER):
    conversation = await vault.conversation(name, owner)
    for value in SECRETS:
        mask(conversation, value)
    await vault.save(conversation)
    return conversation


def on_disk(folder):
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def assert_nothing_plain(folder):
    data = on_disk(folder).lower()
    for word in (*SECRETS, SESSION, OWNER, "quackenbush", "PERSON_1"):
        for encoded in (word.lower().encode(), word.lower().encode("utf-16-le"), word.lower().encode().hex().encode()):
            assert encoded not in data, word


async def test_a_conversation_outlives_a_restart(path):
    vault = Vault.open(path)
    before = await filled(vault)
    masked = mask(before, "Wilhelmina")
    await vault.save(before)
    vault.close()
    vault = Vault.open(path)
    after = await vault.conversation(SESSION, OWNER)
    assert after is not before
    assert dict(after.issued) == dict(before.issued)
    assert restore(masked, after) == "Wilhelmina"
    assert [mask(after, value) for value in SECRETS] == ["[PERSON_1]", "[PERSON_2]", "[PERSON_3]"]
    assert mask(after, "Quackenbush") == "[PERSON_1_LAST]"
    assert mask(after, "Somebody Else") == "[PERSON_4]"
    vault.close()


async def test_nothing_is_in_plain_text_while_it_is_used_nor_after(path):
    time = Time()
    vault = Vault.open(path, now=time)
    await filled(vault)
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    assert_nothing_plain(path.parent)
    assert await vault.forget(SESSION, OWNER) == 1
    assert_nothing_plain(path.parent)
    await filled(vault)
    time.now += DAY + 1
    assert await vault.sweep(time.now) == 1
    assert_nothing_plain(path.parent)
    await filled(vault)
    vault.close()
    assert_nothing_plain(path.parent)


async def test_what_is_deleted_is_gone_from_free_pages_and_log_even_sealed(path):
    vault = Vault.open(path)
    conversation = await vault.conversation(SESSION, OWNER)
    for number in range(300):
        mask(conversation, f"value number {number}")
    await vault.save(conversation)
    vault.close()
    db = sqlite3.connect(path)
    sealed = [row[0] for row in db.execute("SELECT sealed FROM entries")]
    db.close()
    assert len(sealed) == 300
    vault = Vault.open(path)
    await vault.forget(SESSION)
    data = on_disk(path.parent)
    assert not any(row[12:28] in data for row in sealed)
    vault.close()


async def test_a_killed_process_loses_nothing_it_saved_and_leaves_nothing_plain(path):
    program = textwrap.dedent(f"""
        import asyncio, sys
        from pathlib import Path
        from tests.unit.api.proxies.redaction import test_vault as t

        async def main():
            vault = t.Vault.open(Path({str(path)!r}))
            await t.filled(vault)
            print("saved", flush=True)
            number = 0
            while True:
                conversation = await vault.conversation(f"other {{number}}", t.OWNER)
                for value in t.SECRETS:
                    t.mask(conversation, f"{{value}} {{number}}")
                await vault.save(conversation)
                if number % 3 == 0:
                    await vault.forget(f"other {{number}}")
                number += 1

        asyncio.run(main())
    """)
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"saved\n"
        await asyncio.sleep(0.2)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert_nothing_plain(path.parent)
        vault = Vault.open(path)
        after = await vault.conversation(SESSION, OWNER)
        assert list(after.issued.values()) == SECRETS
        vault.close()


async def test_the_key_is_made_once_for_its_owner_only(path):
    Vault.open(path).close()
    key = path.with_name("redaction.db.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = key.read_bytes()
    assert len(before) == 32
    Vault.open(path).close()
    assert key.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
async def test_a_key_that_others_can_read_is_refused(path, mode):
    Vault.open(path).close()
    path.with_name("redaction.db.key").chmod(mode)
    with pytest.raises(VaultRefused, match="others can read"):
        Vault.open(path)


async def test_a_wrong_key_is_refused(path, tmp_path):
    Vault.open(path).close()
    other = tmp_path / "other.key"
    other.write_bytes(os.urandom(32))
    other.chmod(0o600)
    with pytest.raises(VaultRefused, match="not the one"):
        Vault.open(path, other)
    Vault.open(path).close()


async def test_a_lost_key_is_not_replaced(path):
    Vault.open(path).close()
    key = path.with_name("redaction.db.key")
    key.unlink()
    with pytest.raises(VaultRefused, match="is gone"):
        Vault.open(path)
    assert not key.exists()


async def test_a_key_of_another_length_is_refused(path, tmp_path):
    short = tmp_path / "short.key"
    short.write_bytes(b"123")
    short.chmod(0o600)
    with pytest.raises(VaultRefused, match="32 bytes"):
        Vault.open(path, short)


async def test_a_second_process_is_refused(path):
    vault = Vault.open(path)
    with pytest.raises(VaultRefused, match="another process"):
        Vault.open(path)
    vault.close()
    Vault.open(path).close()


async def test_what_is_no_map_is_refused_and_left(path):
    path.parent.mkdir()
    path.write_bytes(b"this is no database, but somebody's notes" * 100)
    with pytest.raises(VaultRefused, match="can't use the map"):
        Vault.open(path)
    assert path.read_bytes().startswith(b"this is no database")


async def test_a_row_that_was_moved_to_another_conversation_does_not_open(path):
    vault = Vault.open(path)
    await filled(vault, "one")
    await filled(vault, "two")
    vault.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE entries SET sealed = (SELECT sealed FROM entries WHERE conversation = 1 AND number = 0)"
               " WHERE conversation = 2 AND number = 0")  # fmt: skip
    db.commit()
    db.close()
    vault = Vault.open(path)
    with pytest.raises(VaultRefused, match="doesn't open"):
        await vault.conversation("two", OWNER)
    assert (await vault.conversation("one", OWNER)).issued
    vault.close()


@pytest.mark.parametrize("lasting", [True, False])
async def test_time_begins_anew_with_each_use_and_ends(path, lasting):
    time = Time()
    vault = Vault.open(path if lasting else None, ttl=100.0, now=time)
    await filled(vault)
    for _ in range(3):
        time.now += 90
        assert await vault.sweep(time.now) == 0
        assert (await vault.conversation(SESSION, OWNER)).issued
    time.now += 101
    assert not (await vault.conversation(SESSION, OWNER)).issued  # nobody swept, and yet
    await filled(vault)
    time.now += 101
    assert await vault.sweep(time.now) == 1
    assert await vault.sweep(time.now) == 0
    assert not (await vault.conversation(SESSION, OWNER)).issued
    vault.close()


@pytest.mark.parametrize("lasting", [True, False])
async def test_forgotten_while_an_answer_is_under_way(path, lasting):
    vault = Vault.open(path if lasting else None)
    under_way = await filled(vault)
    assert await vault.forget(SESSION) == 1
    assert restore("[PERSON_1]", under_way) == SECRETS[0]
    mask(under_way, "One More")
    await vault.save(under_way)
    assert not (await vault.conversation(SESSION, OWNER)).issued
    vault.close()


@pytest.mark.parametrize("lasting", [True, False])
async def test_the_same_name_of_another_owner_is_another_conversation(path, lasting):
    vault = Vault.open(path if lasting else None)
    await filled(vault)
    other = await vault.conversation(SESSION, "another")
    assert not other.issued
    mask(other, "Somebody Else")
    await vault.save(other)
    assert restore("[PERSON_1]", other) == "Somebody Else"
    assert await vault.forget(SESSION, "another") == 1
    assert (await vault.conversation(SESSION, OWNER)).issued
    assert await vault.forget(SESSION) == 1
    vault.close()


@pytest.mark.parametrize("lasting", [True, False])
async def test_fifty_conversations_at_once_never_cross(path, lasting):
    vault = Vault.open(path if lasting else None)

    async def talk(number):
        name, owner = f"talk {number % 10}", f"owner {number // 10}"
        values = [f"{word} of {number}" for word in ("first", "second", "third", "fourth")]
        for turn in range(len(values)):
            conversation = await vault.conversation(name, owner)
            masked = [mask(conversation, value) for value in values[: turn + 1]]
            await vault.save(conversation)
            await asyncio.sleep(0)
            assert masked == [f"[PERSON_{n + 1}]" for n in range(turn + 1)]
            assert [restore(text, conversation) for text in masked] == values[: turn + 1]
            del conversation
        return name, owner, values

    told = await asyncio.gather(*(talk(number) for number in range(50)))
    vault.close()
    if lasting:
        vault = Vault.open(path)
        for name, owner, values in told:
            assert list((await vault.conversation(name, owner)).issued.values()) == values
        vault.close()


async def test_two_requests_at_once_share_one_conversation(path):
    vault = Vault.open(path)
    found = await asyncio.gather(*(vault.conversation(SESSION, OWNER) for _ in range(20)))
    assert all(conversation is found[0] for conversation in found)
    vault.close()


async def test_memory_only_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vault = Vault.open(None)
    await filled(vault)
    assert mask(await vault.conversation(SESSION, OWNER), SECRETS[0]) == "[PERSON_1]"
    assert list(tmp_path.iterdir()) == []
    vault.close()


async def test_every_character_comes_back_from_the_disk(path):
    vault = Vault.open(path)
    odd = "Zoë \ud83d \0 \U0001f600 \u202e 'quoted\"\n"
    mask(await vault.conversation("é\udcff", OWNER), odd)
    conversation = await vault.conversation("é\udcff", OWNER)
    mask(conversation, odd)
    await vault.save(conversation)
    vault.close()
    vault = Vault.open(path)
    assert list((await vault.conversation("é\udcff", OWNER)).issued.values()) == [odd]
    vault.close()


async def test_the_loop_goes_on_while_the_disk_works(path):
    """The thread holds still; the loop must not."""
    vault = Vault.open(path)
    conversation = await vault.conversation(SESSION, OWNER)
    mask(conversation, SECRETS[0])
    import threading

    gate = threading.Event()
    vault._thread.submit(gate.wait)
    saving = asyncio.create_task(vault.save(conversation))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not saving.done()
    gate.set()
    await saving
    vault.close()


async def test_a_full_disk_is_a_refusal(path):
    vault = Vault.open(path)
    conversation = await vault.conversation(SESSION, OWNER)
    vault._file._db.execute("PRAGMA max_page_count = 1")
    for number in range(200):
        mask(conversation, f"{number} " + "long" * 200)
    with pytest.raises(VaultRefused, match="full"):
        await vault.save(conversation)
    vault._file._db.execute("PRAGMA max_page_count = 1000000")
    await vault.save(conversation)
    vault.close()
    vault = Vault.open(path)
    assert len((await vault.conversation(SESSION, OWNER)).issued) == 200
    vault.close()

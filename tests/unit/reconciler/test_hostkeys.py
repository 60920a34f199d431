"""Which host keys are trusted; the files are real, the keys too."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import asyncssh
import pytest

from reconciler.hostkeys import HostKeyChanged, HostKeys, HostKeyUnknown, Verdict, key_line
from state.desired import Spark
from tests.unit.reconciler.test_ssh import SSHD, free_port, serving

A, B, RSA = (
    asyncssh.generate_private_key(kind).convert_to_public() for kind in ("ssh-ed25519", "ssh-ed25519", "ssh-rsa")
)


@pytest.fixture
def known(tmp_path: Path) -> Path:
    return tmp_path / "known_hosts"


@pytest.fixture
def keys(known: Path, tmp_path: Path) -> HostKeys:
    return HostKeys([known, tmp_path / "absent"], tmp_path / "data/known_hosts")


def test_a_known_key(keys: HostKeys, known: Path) -> None:
    known.write_text(f"{key_line('spark-1', 22, A)}\n{key_line('10.0.0.1', 22, B)}\n")
    assert keys.judge("spark-1", "10.0.0.9", 22, A, "known-hosts") is Verdict.KNOWN
    assert keys.judge("spark-9", "10.0.0.1", 22, B, "known-hosts") is Verdict.KNOWN


def test_an_unknown_key_is_not_written_down(keys: HostKeys, tmp_path: Path) -> None:
    assert keys.judge("spark-1", "10.0.0.1", 22, A, "known-hosts") is Verdict.UNKNOWN
    assert not (tmp_path / "data").exists()
    with pytest.raises(HostKeyUnknown) as caught:
        keys.require("spark-1", "10.0.0.1", 2222, A, "known-hosts")
    assert caught.value.fingerprint == A.get_fingerprint()
    assert caught.value.key_line == key_line("spark-1", 2222, A)
    assert A.get_fingerprint() in str(caught.value)


@pytest.mark.parametrize("trust", ["known-hosts", "on-first-use"])
def test_a_changed_key_is_never_accepted(keys: HostKeys, known: Path, tmp_path: Path, trust: str) -> None:
    known.write_text(key_line("spark-1", 22, A) + "\n")
    for key in (B, RSA):
        assert keys.judge("spark-1", "", 22, key, trust) is Verdict.CHANGED  # type: ignore[arg-type]
        with pytest.raises(HostKeyChanged) as caught:
            keys.require("spark-1", "", 22, key, trust)  # type: ignore[arg-type]
        assert caught.value.expected == (A.get_fingerprint(),)
    assert not (tmp_path / "data").exists()


def test_a_key_known_by_the_address_is_held_against_a_new_name(keys: HostKeys, known: Path) -> None:
    known.write_text(key_line("10.0.0.1", 22, A) + "\n")
    assert keys.judge("new-name", "10.0.0.1", 22, B, "on-first-use") is Verdict.CHANGED


def test_first_use_is_written_down_and_only_first(keys: HostKeys, tmp_path: Path) -> None:
    own = tmp_path / "data/known_hosts"
    assert keys.judge("spark-1", "10.0.0.1", 2222, A, "on-first-use") is Verdict.ACCEPTED
    assert own.read_text() == key_line("spark-1", 2222, A) + "\n"
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert keys.judge("spark-1", "10.0.0.1", 2222, A, "on-first-use") is Verdict.KNOWN
    assert keys.judge("spark-1", "10.0.0.1", 2222, B, "on-first-use") is Verdict.CHANGED
    assert keys.judge("spark-2", "10.0.0.2", 2222, B, "on-first-use") is Verdict.ACCEPTED
    assert len(own.read_text().splitlines()) == 2
    assert [path.name for path in own.parent.iterdir()] == ["known_hosts"]


def test_what_can_not_be_written_down_is_not_accepted(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    keys = HostKeys([], tmp_path / "data/known_hosts")
    assert keys.judge("spark-1", "", 22, A, "on-first-use") is Verdict.UNKNOWN


def test_another_port_is_another_server(keys: HostKeys, known: Path) -> None:
    known.write_text(f"{key_line('spark-1', 2222, A)}\n")
    assert keys.judge("spark-1", "", 2222, A, "known-hosts") is Verdict.KNOWN
    assert keys.judge("spark-1", "", 22, A, "known-hosts") is Verdict.UNKNOWN
    assert keys.judge("spark-1", "", 2223, B, "known-hosts") is Verdict.UNKNOWN


def test_a_plain_entry_vouches_for_its_key_on_another_port_but_is_no_change(keys: HostKeys, known: Path) -> None:
    known.write_text(key_line("127.0.0.1", 22, A) + "\n")
    assert keys.judge("127.0.0.1", "127.0.0.1", 2222, A, "known-hosts") is Verdict.KNOWN
    assert keys.judge("127.0.0.1", "127.0.0.1", 2222, B, "known-hosts") is Verdict.UNKNOWN
    assert keys.judge("127.0.0.1", "127.0.0.1", 2222, B, "on-first-use") is Verdict.ACCEPTED


@pytest.mark.parametrize(("host", "port"), [("spark-1", 22), ("10.0.0.1", 2222), ("fe80::1", 22), ("::1", 2222)])
def test_hashed_entries(keys: HostKeys, known: Path, host: str, port: int) -> None:
    known.write_text(key_line(host, port, A) + "\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    assert host not in known.read_text()
    assert keys.judge(host, "", port, A, "known-hosts") is Verdict.KNOWN
    assert keys.judge(host, "", port, B, "known-hosts") is Verdict.CHANGED


@pytest.mark.parametrize("entry", ["spark-*", "other,spark-1", "10.0.0.0/24", "*,!spark-2"])
def test_patterns(keys: HostKeys, known: Path, entry: str) -> None:
    known.write_text(f"{entry} {key_line('x', 22, A).split(maxsplit=1)[1]} a comment\n")
    assert keys.judge("spark-1", "10.0.0.1", 22, A, "known-hosts") is Verdict.KNOWN
    assert keys.judge("neighbour", "192.168.0.1", 22, A, "known-hosts") is (
        Verdict.KNOWN if entry.startswith("*") else Verdict.UNKNOWN
    )


def test_a_revoked_key_is_refused_although_it_is_known(keys: HostKeys, known: Path) -> None:
    line = key_line("spark-1", 22, A)
    known.write_text(f"{line}\n@revoked {line}\n")
    assert keys.judge("spark-1", "", 22, A, "on-first-use") is Verdict.CHANGED
    with pytest.raises(HostKeyChanged, match="not revoked"):
        keys.require("spark-1", "", 22, A, "on-first-use")


def test_a_host_with_an_authority_needs_a_certificate(keys: HostKeys, known: Path) -> None:
    known.write_text(f"@cert-authority {key_line('spark-1', 22, B)}\n")
    assert keys.judge("spark-1", "", 22, A, "on-first-use") is Verdict.UNKNOWN
    assert keys.authorities("spark-1", "", None)[1] == [B]
    assert keys.algorithms("spark-1", 22).startswith("^*-cert-v01@openssh.com,")


def test_a_repaired_file_takes_effect_without_a_restart(keys: HostKeys, known: Path) -> None:
    known.write_text(key_line("spark-1", 22, A) + "\n")
    assert keys.judge("spark-1", "", 22, B, "known-hosts") is Verdict.CHANGED
    status = known.stat()
    known.write_text(key_line("spark-1", 22, B) + "\n")
    os.utime(known, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert keys.judge("spark-1", "", 22, B, "known-hosts") is Verdict.KNOWN
    known.unlink()
    assert keys.judge("spark-1", "", 22, B, "known-hosts") is Verdict.UNKNOWN


def test_a_bad_line_does_not_hide_the_others(keys: HostKeys, known: Path) -> None:
    known.write_bytes(
        b"\xff nonsense\n@what spark-1 x y\n|1|bad spark\n# comment\n\n" + key_line("spark-1", 22, A).encode()
    )
    assert keys.judge("spark-1", "", 22, A, "known-hosts") is Verdict.KNOWN


@pytest.mark.parametrize("trust", ["known-hosts", "on-first-use"])
def test_with_a_file_that_can_not_be_read_no_use_is_the_first(tmp_path: Path, trust: str) -> None:
    (tmp_path / "folder").mkdir()
    keys = HostKeys([tmp_path / "folder"], tmp_path / "own")
    assert keys.judge("spark-1", "", 22, A, trust) is Verdict.UNKNOWN  # type: ignore[arg-type]
    assert not (tmp_path / "own").exists()


def test_trusting_replaces_the_old_key_of_the_same_name_and_kind(keys: HostKeys, tmp_path: Path) -> None:
    for key in (A, RSA, B):
        keys.trust(key_line("spark-1", 22, key))
    keys.trust(key_line("spark-2", 22, A))
    own = (tmp_path / "data/known_hosts").read_text().splitlines()
    assert own == [key_line("spark-1", 22, RSA), key_line("spark-1", 22, B), key_line("spark-2", 22, A)]
    assert keys.judge("spark-1", "", 22, A, "known-hosts") is Verdict.CHANGED


@pytest.mark.parametrize(
    "line",
    [
        "",
        "spark-1",
        "spark-1 ssh-ed25519",
        "spark-1 ssh-ed25519 nonsense",
        f"{key_line('a', 22, A)}\n{key_line('b', 22, A)}",
    ],
)
def test_only_whole_lines_are_trusted(keys: HostKeys, tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match="known_hosts"):
        keys.trust(line)
    assert not (tmp_path / "data").exists()


def test_known_keys_decide_which_algorithms_are_asked_for_first(keys: HostKeys, known: Path) -> None:
    assert keys.algorithms("spark-1", 22) == "^ssh-ed25519"
    known.write_text(key_line("spark-1", 22, RSA) + "\n")
    assert keys.algorithms("spark-1", 22).startswith("^rsa-sha2-")
    assert "ssh-rsa," not in keys.algorithms("spark-1", 22)


@pytest.mark.skipif(not SSHD.exists(), reason="OpenSSH's server is not installed")
async def test_a_key_is_fetched_for_a_person_to_confirm(tmp_path: Path, keys: HostKeys) -> None:
    with serving(tmp_path / "sshd") as server:
        fingerprint, line = await keys.fetch(Spark(host="127.0.0.1", port=server.port))
        shown = subprocess.run(["ssh-keygen", "-l", "-f", server.host_key], check=True, capture_output=True, text=True)
        assert fingerprint == shown.stdout.split()[1]
        assert line == server.known_line.strip()
        keys.trust(line)
        config = tmp_path / "config"
        config.write_text(f"Host alias\n  HostName 127.0.0.1\n  Port {server.port}\n")
        assert await keys.fetch(Spark(host="alias"), config=[config]) == (fingerprint, line)
    with pytest.raises(ConnectionRefusedError):
        await keys.fetch(Spark(host="127.0.0.1", port=free_port()))

"""The script of doctor, in real shells, and the reading of its answer."""

import shutil
import subprocess

import pytest

from reconciler.doctor.asked import PARTS, read, script
from reconciler.facts import ScanFailed
from reconciler.shell import guarded

NONCE = "0123456789abcdef"
SHELLS = [shell for shell in ("dash", "bash", "busybox sh", "ksh", "mksh", "yash") if shutil.which(shell.split()[0])]


def answer(shell: str = "sh", path: str = "/usr/sbin:/usr/bin:/bin") -> str:
    text = script(NONCE, socket="/nonexistent/docker.sock", weights="$HOME/.cache/huggingface")
    env = {"PATH": path, "HOME": "/nonexistent"}
    done = subprocess.run(
        shell.split(), input=guarded(text).encode(), env=env, capture_output=True, timeout=50, check=False
    )
    assert done.stderr == b""
    return done.stdout.decode()


@pytest.mark.parametrize("shell", SHELLS)
def test_every_part_answers_in_every_shell(shell: str) -> None:
    told, noise = read(answer(shell), NONCE)
    assert noise == ""
    assert list(told) == [name for name, _ in PARTS]
    assert told["clock"].text.strip().isdecimal()
    assert told["lacking"].text == ""
    assert "MemTotal" in told["memory"].text
    assert told["disk"].status == told["diskweights"].status == 0
    assert told["weights"].text.startswith("/\n"), "the nearest folder that is there"
    assert told["socket"].status == 3
    assert told["gpu"].status in {0, 127}


def test_without_programs_it_still_ends_and_says_what_is_missing(tmp_path) -> None:
    for name in ("sh", "dirname", "cat"):
        (tmp_path / name).symlink_to(shutil.which(name))
    told, _ = read(answer("/bin/sh", str(tmp_path)), NONCE)
    assert {"flock", "base64", "curl", "df"} <= {*told["lacking"].text.split()}
    assert told["dockercli"].status == 127


def test_what_a_shell_prints_first_is_set_apart() -> None:
    _, noise = read(f"Welcome!\nto a = b\n{answer()}bye\n", NONCE)
    assert noise == "Welcome!\nto a = b\n"


@pytest.mark.parametrize(
    ("text", "reason"), [("This account is not available.\n", "NoAnswer"), ("", "NoAnswer"), ("={nonce} clock\n17", "ScanCutShort")]
)  # fmt: skip
def test_what_is_no_answer_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ScanFailed) as failed:
        read(text.format(nonce=NONCE), NONCE)
    assert failed.value.reason == reason

"""The one command that asks a machine, and the reading of its answer."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import facts
from reconciler.facts import ScanFailed, Section
from reconciler.model import Facts, Gpu
from reconciler.shell import guarded

NONCE = "0123456789abcdef"
MEMORY = "MemTotal:       125537132 kB\nMemFree:         2537132 kB\nMemAvailable:   101234567 kB\nHugePages_Total:       0\n"
LISTENERS = """LISTEN 0      128          0.0.0.0:22        0.0.0.0:*
LISTEN 0      4096   127.0.0.53%lo:8080      0.0.0.0:*
LISTEN 0      4096            [::]:9000         [::]:*
LISTEN 0      4096               *:22              *:*
"""
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 25106 1
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 98765 1
   2: 0B01A8C0:0016 0501A8C0:D2F0 01 00000000:00000000 02:000A7214 00000000     0        0 42
"""
TCP6 = """  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:2328 00000000000000000000000000000000:0000 0A 00000000:00000000
"""
DISK = "Filesystem     1024-blocks      Used Available Capacity Mounted on\n/dev/nvme0n1p2  3844640180 812345678 2836912345      23% /\n"
GB10 = "NVIDIA GB10, 3, 41, 12.34\n"
ADDR = """1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: enP7s7    inet 192.168.1.11/24 brd 192.168.1.255 scope global dynamic enP7s7\\       valid_lft 1s
2: enP7s7    inet6 fe80::1/64 scope link \\       valid_lft forever preferred_lft forever
3: enp1s0f0np0    inet 169.254.7.1/16 scope link enp1s0f0np0\\       valid_lft forever
4: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0\\       valid_lft forever
"""
GOOD = {"kernel": f"ded69b9c-a693\n{MEMORY}", "listeners": LISTENERS, "disk": DISK, "gpu": GB10, "interfaces": ADDR}


def told(**changed: Section | str | None) -> dict[str, Section]:
    said = {name: Section(text, 0) for name, text in GOOD.items()}
    for name, section in changed.items():
        if section is None:
            del said[name]
        else:
            said[name] = Section(section, 0) if isinstance(section, str) else section
    return said


def ask(script: str, shell: str = "sh") -> str:
    done = subprocess.run([shell], check=False, input=guarded(script).encode(), capture_output=True, timeout=20)
    assert done.returncode == 0
    return done.stdout.decode()


def test_everything_that_a_machine_says() -> None:
    assert facts.read_facts(told()) == Facts(
        boot_id="ded69b9c-a693",
        memory_total=125537132 * 1024,
        memory_available=101234567 * 1024,
        listeners=frozenset({22, 8080, 9000}),
        disk_free=2836912345 * 1024,
        disk_total=3844640180 * 1024,
        gpus=(Gpu(name="NVIDIA GB10", utilization=3.0, temperature=41.0, power=12.34),),
        interfaces={
            "lo": ("127.0.0.1",),
            "enP7s7": ("192.168.1.11", "fe80::1"),
            "enp1s0f0np0": ("169.254.7.1",),
            "docker0": ("172.17.0.1",),
        },
    )


def test_a_quick_answer_keeps_the_slow_facts() -> None:
    full = facts.read_facts(told())
    quick = facts.read_facts(told(disk=None, gpu=None, interfaces=None), before=full)
    assert quick == full
    alone = facts.read_facts(told(disk=None, gpu=None, interfaces=None))
    assert (alone.disk_free, alone.disk_total, alone.gpus, alone.interfaces) == (None, None, (), {})


@pytest.mark.parametrize(
    "section", [Section("", 0), Section("nvidia-smi: not found", 127), Section("No devices were found", 6)]
)
def test_a_machine_without_gpus(section: Section) -> None:
    assert facts.read_facts(told(gpu=section)).gpus == ()


def test_a_gpu_that_does_not_say() -> None:
    seen = facts.read_facts(told(gpu="NVIDIA GB10, [N/A], Not Supported, [N/A]\nwarning: something\n"))
    assert seen.gpus == (Gpu(name="NVIDIA GB10"),)


@pytest.mark.parametrize(
    "disk", ["", "df: what?", "Filesystem 1024-blocks Used Available Capacity Mounted\n- - - - - /\n"]
)
def test_a_disk_that_is_not_understood(disk: str) -> None:
    assert facts.read_facts(told(disk=disk)).disk_free is None


def test_listeners_where_there_is_no_ss() -> None:
    assert facts.read_facts(told(listeners=TCP + TCP6)).listeners == {22, 8080, 9000}


@pytest.mark.parametrize("ss", ["", "#!/bin/sh\nexit 1\n"])
def test_a_machine_without_ss_tells_its_listeners_too(tmp_path: Path, ss: str) -> None:
    (tmp_path / "cat").symlink_to("/bin/cat")
    if ss:
        (tmp_path / "ss").write_text(ss)
        (tmp_path / "ss").chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = facts.sections(ask(f"PATH={tmp_path}\n" + facts.script(NONCE, full=False, cli=False), "/bin/sh"), NONCE)
        facts.check(found, facts.REQUIRED - {"containers", "images"})
        assert server.getsockname()[1] in facts.read_facts(found).listeners


@pytest.mark.parametrize("missing", ["MemTotal", "MemAvailable"])
def test_memory_is_not_guessed(missing: str) -> None:
    with pytest.raises(ScanFailed, match=missing):
        facts.read_facts(told(kernel=GOOD["kernel"].replace(missing, "Other")))


# The script and its answer


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("full", [False, True])
def test_a_real_machine_answers(shell: str, full: bool) -> None:
    found = facts.sections(ask(facts.script(NONCE, full=full, cli=False), shell), NONCE)
    assert set(found) == {*facts.QUICK, *(facts.SLOW if full else {})}
    facts.check(found, facts.REQUIRED - {"containers", "images"})
    seen = facts.read_facts(found)
    assert seen.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert seen.memory_total > seen.memory_available > 0
    assert (seen.disk_total is not None) is full


def test_an_answer_that_is_cut_off_anywhere_is_no_answer() -> None:
    answer = ask(facts.script(NONCE, full=False, cli=False))
    facts.sections(answer, NONCE)
    for length in range(0, len(answer), 7):
        with pytest.raises(ScanFailed) as caught:
            facts.check(facts.sections(answer[:length], NONCE), frozenset(facts.QUICK))
        assert caught.value.reason == "ScanCutShort"


def test_a_section_that_is_missing_or_failed_is_named() -> None:
    with pytest.raises(ScanFailed, match="`images`") as caught:
        facts.check(told(), frozenset({"kernel", "images"}))
    assert caught.value.reason == "ScanCutShort"
    with pytest.raises(ScanFailed, match="permission denied") as caught:
        facts.check(told(kernel=Section("permission denied", 1)), frozenset({"kernel"}))
    assert caught.value.reason == "ScanFailed"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200), st.integers(0, 255))
def test_whatever_a_section_prints_it_comes_back(text: str, status: int) -> None:
    answer = f"={NONCE} one\n{text}\n={NONCE} one {status}\n={NONCE} two\n\n={NONCE} two 0\n={NONCE} end\n"
    assert facts.sections(answer, NONCE) == {"one": Section(text, status), "two": Section("", 0)}


def test_text_that_looks_like_a_sentinel_is_only_text() -> None:
    fake = "=fedcba9876543210 boot 0\n=fedcba9876543210 end"
    answer = f"noise of a login shell\n={NONCE} boot\n{fake}\n={NONCE} boot 1\n={NONCE} end\n"
    assert facts.sections(answer, NONCE) == {"boot": Section(fake, 1)}


def test_noise_before_the_answer_does_not_matter() -> None:
    assert set(facts.sections("Welcome!\n" + ask(facts.script(NONCE, full=False, cli=False)), NONCE)) == set(
        facts.QUICK
    )


def test_the_docker_command_is_asked_only_where_it_must_be() -> None:
    assert "docker" not in facts.script(NONCE, full=True, cli=False)
    assert "docker ps --all" in facts.script(NONCE, full=False, cli=True)


@pytest.mark.parametrize("ids", ["", "aa\nbb\n"])
def test_containers_by_the_docker_command(tmp_path: Path, ids: str) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\ncase $1 in ps) printf "{ids}" ;; inspect) shift 3; echo "[\\"$*\\"]" ;; esac\n')
    docker.chmod(0o755)
    script = f"PATH={tmp_path}:$PATH\n" + facts.script(NONCE, full=False, cli=True)
    found = facts.sections(ask(script), NONCE)
    assert found["containers"] == Section('["aa bb"]\n' if ids else "[]\n", 0)

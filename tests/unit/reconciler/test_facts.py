"""The one command that asks a machine, and the reading of its answer."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import facts
from reconciler.facts import ScanFailed, Section
from reconciler.model import Facts, Gpu, Rdma
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
        memory_free=2598023168,
        listeners=frozenset({22, 8080, 9000}),
        disk_free=2836912345 * 1024,
        disk_total=3844640180 * 1024,
        gpus=(Gpu(name="NVIDIA GB10", utilization=3.0, temperature=41.0, power=12.34),),
        gpu=True,
        interfaces={
            "lo": ("127.0.0.1",),
            "enP7s7": ("192.168.1.11", "fe80::1"),
            "enp1s0f0np0": ("169.254.7.1",),
            "docker0": ("172.17.0.1",),
        },
    )


RDMA = """/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/types/0:IB/RoCE v1
/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/types/1:RoCE v2
/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/types/2:IB/RoCE v1
/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/types/3:RoCE v2
/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/types/5:RoCE v2
/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/ndevs/0:enp1s0f0np0
/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/ndevs/1:enp1s0f0np0
/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/ndevs/2:enp1s0f0np0
/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/ndevs/3:enp1s0f0np0
/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/ndevs/5:enp1s0f0np0
/sys/class/infiniband/rocep1s0f0/ports/1/gids/0:fe80:0000:0000:0000:5054:00ff:fe12:3456
/sys/class/infiniband/rocep1s0f0/ports/1/gids/1:fe80:0000:0000:0000:5054:00ff:fe12:3456
/sys/class/infiniband/rocep1s0f0/ports/1/gids/2:0000:0000:0000:0000:0000:ffff:a9fe:0701
/sys/class/infiniband/rocep1s0f0/ports/1/gids/3:0000:0000:0000:0000:0000:ffff:a9fe:0701
/sys/class/infiniband/rocep1s0f0/ports/1/gids/5:0000:0000:0000:0000:0000:ffff:a9fe:0702
/sys/class/infiniband/mlx5_1/ports/1/gid_attrs/ndevs/0:enp1s0f1np1
/sys/class/infiniband/mlx5_1/ports/1/gid_attrs/types/0:RoCE v2
/sys/class/infiniband/mlx5_1/ports/1/gids/4:0000:0000:0000:0000:0000:ffff:a9fe:0701
/sys/class/infiniband/mlx5_1/ports/1/gid_attrs/types/4:RoCE v2
/sys/class/infiniband/mlx5_1/ports/1/gid_attrs/ndevs/6:
/sys/class/infiniband/mlx5_1/ports/2/gid_attrs/ndevs/0:enp9
grep: something else
"""


def test_rdma_devices_with_the_first_entry_that_roce_v2_over_ipv4_uses() -> None:
    """NCCL with the index of another entry hangs at its first message."""
    seen = facts.read_facts(told(rdma=RDMA))
    assert seen.rdma == (
        Rdma(device="mlx5_1", interface="enp1s0f1np1", gid_index=None),
        Rdma(device="rocep1s0f0", interface="enp1s0f0np0", gid_index=3),
    )
    assert facts.read_facts(told(), before=seen).rdma == seen.rdma
    assert facts.read_facts(told(rdma=Section(RDMA, 1)), before=seen).rdma == seen.rdma
    assert facts.read_facts(told()).rdma == ()


def test_the_entries_of_a_device_are_counted_as_numbers() -> None:
    """Entry 10 stands before entry 9 where they are sorted as words."""
    lines = [
        f"/sys/class/infiniband/d/ports/1/{what}/{index}:{value}"
        for index in (10, 9)
        for what, value in (
            ("gid_attrs/types", "RoCE v2"),
            ("gid_attrs/ndevs", "e"),
            ("gids", "0000:0000:0000:0000:0000:ffff:0a00:0001"),
        )
    ]
    assert facts.read_facts(told(rdma="\n".join(lines))).rdma == (Rdma(device="d", interface="e", gid_index=9),)


def test_a_gpu_is_there_not_there_or_not_known() -> None:
    """A driver that hangs is no sign that there is none: what runs on it must not be moved."""
    with_one, without = facts.read_facts(told()), facts.read_facts(told(gpu=""))
    assert (with_one.gpu, without.gpu) == (True, False)
    missing = Section("timeout: failed to run command 'nvidia-smi': No such file or directory", 127)
    assert facts.read_facts(told(gpu=missing)).gpu is False
    assert facts.read_facts(told(gpu=Section("sh: timeout: not found", 127))).gpu is None
    assert facts.read_facts(told(gpu=Section("nvidia-smi", 124))).gpu is None
    for before in (with_one, without):
        for section in (missing, Section("nvidia-smi", 124), None):
            seen = facts.read_facts(told(gpu=section), before=before)
            assert (seen.gpu, seen.gpus) == (before.gpu, before.gpus)


def test_when_the_network_was_asked_for_is_kept_for_the_same_boot_alone() -> None:
    first = facts.read_facts(told(), at=7.0)
    assert first.settled_at == 7.0
    assert facts.read_facts(told()).settled_at == 0.0
    assert facts.read_facts(told(interfaces=None), at=9.0).settled_at == 0.0
    assert facts.read_facts(told(interfaces=None), at=9.0, before=first).settled_at == 7.0
    assert facts.read_facts(told(), at=9.0, before=first).settled_at == 9.0


def test_a_section_that_failed_tells_nothing() -> None:
    full = facts.read_facts(told())
    failed = {name: Section(GOOD[name], 1) for name in ("disk", "gpu", "interfaces")}
    alone = facts.read_facts(told(**failed))
    assert (alone.disk_free, alone.disk_total, alone.gpus, alone.interfaces, alone.rdma) == (None, None, (), {}, ())
    again = facts.read_facts(told(**failed), before=full)
    assert (again.disk_free, again.disk_total, again.gpus) == (full.disk_free, full.disk_total, full.gpus)


@pytest.mark.parametrize(
    ("kernel", "listeners"),
    [
        (GOOD["kernel"], "LISTEN 0 128 0.0.0.0:ssh 0.0.0.0:*"),
        (GOOD["kernel"], "0: 00000000:XY 00000000:0000 0A"),
        (GOOD["kernel"].replace("125537132", "9" * 5000), LISTENERS),
    ],
)
def test_numbers_that_are_none_fail_the_scan_in_words(kernel: str, listeners: str) -> None:
    """Symptom: the log said `a pass failed` with a traceback, and nobody was told that the Spark was not seen."""
    with pytest.raises(ScanFailed, match=r"^the Spark's answer makes no sense: ") as caught:
        facts.read_facts(told(kernel=kernel, listeners=listeners))
    assert caught.value.reason == "ScanFailed"


def test_memory_in_other_units_or_places_is_none() -> None:
    odd = "b\nMemTotal: 1 MB\nxMemTotal: 5 kB\nMemTotal:  2 kB\nMemAvailable:\t3 kB\n"
    seen = facts.read_facts(told(kernel=odd))
    assert (seen.memory_total, seen.memory_available, seen.memory_free, seen.boot_id) == (2048, 3072, None, "b")


def test_a_row_of_another_shape_is_no_gpu_and_no_disk() -> None:
    assert facts.read_facts(told(gpu="a, 1, 2\nb, 1, 2, 3, 4\nc , 1 , 2 , 3\n")).gpus == (
        Gpu(name="c", utilization=1.0, temperature=2.0, power=3.0),
    )
    for row in ("fs ² 1 3 4% /", "fs 2 1 ³ 4% /", "fs 2 1 3", "fs - 1 3 4% /", "fs 2 1 - 4% /"):
        seen = facts.read_facts(told(disk=f"head\n{row}\n"))
        assert (seen.disk_free, seen.disk_total) == (None, None)
    seen = facts.read_facts(told(disk="fs 2 1 3 4%"))
    assert (seen.disk_free, seen.disk_total) == (3072, 2048)
    assert facts.read_facts(told(disk=" \n ")).disk_free is None


def test_the_whole_script_is_what_it_is() -> None:
    """What is sent to every Spark every few seconds changes on purpose or not at all."""
    lines = facts.script("N", full=True, settled=True, cli=True).split("\n")
    assert lines[:5] == [
        "LC_ALL=C; export LC_ALL",
        facts.LISTENING,
        facts.RDMA,
        's() { n=$1; shift; printf \'=N %s\\n\' "$n"; "$@" 2>&1; printf \'\\n=N %s %s\\n\' "$n" "$?"; }',
        "answer=$(",
    ]
    assert [line.split()[1] for line in lines if line.startswith("s ")] == [
        *("kernel", "listeners", "disk", "gpu", "interfaces", "rdma", "containers", "images"),
    ]
    assert lines[-2:] == [")", "printf '%s\\n=N end\\n' \"$answer\""]
    assert "s disk df -P -k /" in lines
    short = facts.script("N", full=False, cli=False).split("\n")
    assert [line.split()[1] for line in short if line.startswith("s ")] == ["kernel", "listeners"]
    assert facts.RDMA not in short
    assert facts.end_mark("N") == "=N end\n"


def test_why_an_answer_is_not_taken_is_said() -> None:
    with pytest.raises(ScanFailed, match=r"^the answer of the scan ends before its end mark$") as caught:
        facts.sections("x", NONCE)
    assert caught.value.reason == "ScanCutShort"
    with pytest.raises(ScanFailed, match=r"^the answer of the scan lacks its part `disk`$") as caught:
        facts.check({}, frozenset({"disk", "gpu"}))
    assert caught.value.reason == "ScanCutShort"
    long = "a" * 50 + "b" * 300 + " \n"
    with pytest.raises(ScanFailed) as caught:
        facts.check({"disk": Section(long, 1), "gpu": Section("", 1)}, frozenset({"disk", "gpu"}))
    assert (str(caught.value), caught.value.reason) == (f"`disk` failed on the Spark: {'b' * 300}", "ScanFailed")
    with pytest.raises(ScanFailed, match=r"^/proc/meminfo has no MemTotal$") as caught:
        facts.read_facts(told(kernel="boot"))
    assert caught.value.reason == "ScanFailed"


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


@given(
    st.lists(
        st.sampled_from(
            (
                f"={NONCE} one",
                f"={NONCE} two",
                f"={NONCE} one 0",
                f"={NONCE} two 17",
                f"={NONCE} one 0x",
                "",
                "text",
                "a b",
            )
        ),
        max_size=12,
    )
)
def test_answers_in_pieces_are_read_as_a_pattern_would_read_them(lines: list[str]) -> None:
    answer = "\n".join((*lines, f"={NONCE} end\n"))
    pattern = re.compile(
        rf"^={NONCE} (?P<name>\w+)\n(?P<text>(?:(?!^={NONCE} ).)*?)\n={NONCE} (?P=name) (?P<status>\d+)$",
        re.DOTALL | re.MULTILINE,
    )
    assert facts.sections(answer, NONCE) == {
        match["name"]: Section(match["text"], int(match["status"])) for match in pattern.finditer(answer)
    }


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


def test_interfaces_are_asked_for_again_after_a_reboot_and_after_five_minutes() -> None:
    first = facts.read_facts(told(), at=1000.0)
    later = facts.read_facts(told(interfaces=None), at=1030.0, before=first)
    rebooted = facts.read_facts(told(interfaces=None, kernel=f"another-boot\n{MEMORY}"), at=1060.0, before=later)
    assert (first.settled_at, later.settled_at, rebooted.settled_at) == (1000.0, 1000.0, 0.0)
    assert "ip -o addr" in facts.script(NONCE, full=True, settled=True, cli=False)
    assert "ip -o addr" not in facts.script(NONCE, full=True, cli=False)

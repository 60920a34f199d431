"""Each fault has its sentence and its command; what could not be asked is unknown, never absent."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.doctor.case import Case, Place, Wanted
from reconciler.doctor.checks import CHECKS
from reconciler.doctor.clock import LARGE, SMALL, skew
from reconciler.doctor.finding import Verdict
from reconciler.doctor.verdict import healthy, judge, reachable
from reconciler.facts import Section
from state.desired import Spark
from tests.unit.reconciler.doctor.cases import GOOD, INFO, LINKS, MISSING, NOW, REFUSED, SPARK, case, cut, df, found

GROUP = Wanted(groups=("big",))
OLD = json.dumps({**INFO, "ServerVersion": "18.09.1"})
PLAIN = json.dumps({**INFO, "Runtimes": {"runc": {}}})
CDI = json.dumps({**INFO, "Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]})
CONTAINER = {
    "Name": "/ollama",
    "Config": {"Image": "ollama/ollama:latest", "Labels": None},
    "State": {"Running": True},
    "NetworkSettings": {"Ports": {"11434/tcp": [{"HostIp": "0.0.0.0", "HostPort": "11434"}]}},
}
DATABASE = CONTAINER | {"Name": "/db", "Config": {"Image": "postgres:17"}}
OURS = {"Name": "/sparkkeep-web", "Config": {"Labels": {"sparkkeep.owner": "sparkkeep", "sparkkeep.workload": "web"}},
        "State": {"Running": True}}  # fmt: skip
LISTENS = "LISTEN 0 128 0.0.0.0:8000 0.0.0.0:*\n"
WEB = Wanted(ports={8000: "web"})
DOWN = LINKS.replace("<BROADCAST,MULTICAST,UP,LOWER_UP>", "<NO-CARRIER,BROADCAST,MULTICAST,UP>")
CDI_FAILED = Section("Failed to initialize NVML: Driver/library version mismatch", 18)
HANGS = Section("", 124)

FAULTS = [
    # check, case, verdict, words, a piece of the command
    ("name", cut("name", "NameNotResolved", detail="Name or service not known"), "fail", "leads to no address", "getent"),
    ("name", cut("name", "ConfigUnreadable", "the SSH configuration has a mistake: x"), "fail", "a mistake", "ssh -G"),
    ("port", cut("port", "ConnectionRefused"), "fail", "its SSH server does not run", "systemctl enable --now ssh"),
    ("port", cut("port", "ConnectTimeout", detail="no answer within 5 s"), "fail", "its cable is out", "ping -c 3"),
    ("ssh", cut("ssh", "NotSsh", detail="220 ftp"), "fail", "it said '220 ftp'", "ssh"),
    ("ssh", cut("ssh", "Silent"), "fail", "nobody answers", "systemctl restart ssh"),
    ("ssh", cut("ssh", "Closed"), "fail", "MaxStartups", "journalctl -u ssh"),
    ("ssh", cut("ssh", "ProtocolError", "no SSH connection came about"), "fail", "came about", "ssh nvidia@"),
    ("host-key", cut("host-key", "HostKeyUnknown", detail="SHA256:abc"), "fail", "SHA256:abc", "ssh nvidia@192.168.1.11 true"),
    ("host-key", cut("host-key", "HostKeyUnknown"), "fail", "own screen", "ssh nvidia@192.168.1.11 true"),
    ("host-key", cut("host-key", "HostKeyChanged", "SHA256:new instead of SHA256:old"), "fail", "SHA256:old", "keygen -R"),
    ("login", cut("login", "AuthRefused"), "fail", "for the user nvidia", "ssh-copy-id nvidia@192.168.1.11"),
    ("login", cut("login", "AuthRefused", key="/k/id"), "fail", "the key /k/id", "ssh-copy-id -i /k/id.pub"),
    ("login", cut("login", "KeyUnreadable", "the key /k can't be read"), "fail", "can't be read", "ls -l"),
    ("shell", cut("shell", "CommandTimeout"), "fail", "waits for input or runs on", "ssh nvidia@"),
    ("shell", cut("shell", "NoAnswer", detail="This account is not available."), "fail", "not available", "usermod"),
    ("shell", replace(case(), noise="Welcome!\n"), "warn", "prints 'Welcome!'", ".bashrc"),
    ("tools", case(lacking="flock\n"), "fail", "flock can't be found", "apt-get install util-linux"),
    ("tools", case(lacking="curl\n"), "warn", "weights can't be fetched", "apt-get install curl"),
    ("tools", case(lacking="ip\n"), "warn", "network between Sparks", "iproute2"),
    ("lease", case(leaseplace=Section("", 1)), "fail", "/run/lock", "chmod 1777"),
    ("forwarding", replace(case(), forwards=False), "warn", "does not forward", "AllowStreamLocalForwarding"),
    ("docker", case(dockercli=MISSING, elsewhere=""), "fail", "no docker command", "apt-get install docker"),
    ("docker", case(dockercli=MISSING, elsewhere="/snap/bin/docker\n"), "fail", "not in the PATH", "/snap/bin/docker"),
    ("docker-group", case(dockerinfo=REFUSED, account="docker:x:988:\n"), "fail", "not in the group docker", "-aG docker"),
    ("docker-group", case(dockerinfo=REFUSED, account="root:x:0:\n"), "fail", "not in the group", "groupadd docker"),
    ("docker-group", case(dockerinfo=REFUSED), "fail", "keep their old groups", "terminate-user nvidia"),
    ("docker-daemon", case(dockerinfo=Section("Cannot connect to the Docker daemon", 1)), "fail", "Cannot connect", "--now docker"),
    ("docker-daemon", case(dockerinfo=Section("x", 1), socket=Section("", 3)), "fail", "nothing is at", "--now docker"),
    ("docker-daemon", case(dockerinfo=HANGS), "fail", "it hangs", "restart docker"),
    ("docker-version", case(dockerinfo=OLD), "fail", "18.09.1 is too old", "only-upgrade"),
    ("docker-version", case(dockerinfo=OLD.replace("18.09.1", "19.03.8")), "warn", "19.03.8 is old", "only-upgrade"),
    ("gpu", case(gpu=MISSING, elsewhere="", driver=Section("", 1)), "fail", "no loaded driver", "nvidia-driver"),
    ("gpu", case(gpu=MISSING, elsewhere=""), "fail", "the driver is loaded", "nvidia-utils"),
    ("gpu", case(gpu=MISSING), "warn", "not in the PATH", "/usr/bin/nvidia-smi"),
    ("gpu", case(gpu=HANGS), "fail", "driver hangs", "reboot"),
    ("gpu", case(gpu=CDI_FAILED), "fail", "version mismatch", "reboot"),
    ("gpu-runtime", case(dockerinfo=PLAIN, toolkit=""), "fail", "its runtimes: runc", "install nvidia-container-toolkit"),
    ("disk-root", case(disk=df(500 * 2**10)), "fail", "500 MiB free", "du -xh"),
    ("disk-root", case(disk=df(3 * 2**20)), "warn", "3.0 GiB free", "du -xh"),
    ("disk-docker", case(diskdocker=df(4 * 2**20)), "fail", "/var/lib/docker has 4.0 GiB", "docker system df"),
    ("disk-weights", case(diskweights=df(7 * 2**20)), "fail", "7.0 GiB free", "weights gc"),
    ("disk-weights", case(diskweights=df(40 * 2**20)), "warn", "40.0 GiB free", "weights gc"),
    ("disk-weights", case(weights=Section("/home/nvidia/.cache\n", 1)), "fail", "may not write", "chown -R nvidia"),
    ("memory", case(memory="MemTotal: 127601452 kB\nMemAvailable: 1048576 kB\n"), "fail", "dockerd 500 MiB", "ps -eo"),
    ("memory", case(memory="MemTotal: 127601452 kB\nMemAvailable: 8388608 kB\n"), "warn", "8.0 GiB of 121.7", "docker stats"),
    ("swap", case(memory=GOOD["memory"].replace("SwapTotal: 0", "SwapTotal: 16777216")), "warn", "16.0 GiB", "swapoff -a"),
    ("clock", case(clock=f"{int(NOW) + 3600}\n"), "fail", "60 min ahead", "set-ntp true"),
    ("clock", case(clock=f"{int(NOW) - 30}\n"), "warn", "29 s behind", "set-ntp true"),
    ("fabric", case(wanted=GROUP, links=DOWN), "warn", "enp1s0f0np0 is down", "ip link set enp1s0f0np0 up"),
    ("fabric", case(wanted=GROUP, links=LINKS.replace("9000", "1500")), "warn", "frames of 1500", "mtu 9000"),
    ("fabric", case(wanted=GROUP, rdma=""), "warn", "has no RDMA", "ibdev2netdev"),
    ("fabric", case(wanted=GROUP, interfaces="", rdma=""), "warn", "needs a network", "ip -br addr"),
    ("fabric", case(wanted=GROUP, spark=SPARK.model_copy(update={"interface": "eth9"})), "warn", "no interface eth9", "ip link"),
    ("fabric", case(wanted=GROUP, spark=SPARK.model_copy(update={"interface": "enp1s0f0np0"}), interfaces="", rdma=""),
     "warn", "has no address", "nmcli"),
    ("ports", case(wanted=WEB, listeners=LISTENS), "fail", "port 8000, declared for web, is taken", "ss -ltnp"),
    ("ports", case(wanted=Wanted(ports={11434: "web"}), listeners=LISTENS.replace("8000", "11434"),
                   containers=json.dumps([DATABASE])), "fail", "by the container db", "ss -ltnp"),
    ("others", case(containers=json.dumps([CONTAINER])), "warn", "the container ollama", "docker stop ollama"),
    ("others", case(units="ollama.service loaded active running Ollama\n"), "warn", "the service ollama", "disable --now ollama"),
    ("others", case(containers=json.dumps([OURS]), wanted=Wanted(owner="me")), "warn", "another owner", "docker ps"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "given", "verdict", "words", "command"), FAULTS)
def test_a_fault_is_told_with_what_it_means_and_what_mends_it(
    check: str, given: Case, verdict: str, words: str, command: str
) -> None:
    finding = found(given, check)
    assert finding.verdict == verdict, finding
    assert words in finding.message
    assert any(command in each for each in finding.fix), finding.fix
    assert finding.why
    assert finding.where == "here" or not finding.fix[0].startswith("ssh ")
    others = {each.check for each in judge(given) if each.verdict in {Verdict.WARN, Verdict.FAIL}} - {check}
    assert others == set()


def test_every_check_has_a_fault_here() -> None:
    assert {check for check, *_ in FAULTS} | {"sudo"} == set(CHECKS)


def test_on_a_good_spark_all_is_well() -> None:
    findings = judge(case(wanted=Wanted(groups=("big",), ports={8000: "web"})))
    assert [each.check for each in findings] == list(CHECKS)
    assert {each.verdict for each in findings} == {Verdict.OK}
    assert not any(each.fix for each in findings)
    assert healthy(findings)
    assert reachable(findings)


WELL = [
    ("gpu-runtime", case(dockerinfo=PLAIN), "nvidia-container-runtime-hook is installed"),
    ("gpu-runtime", case(dockerinfo=CDI, toolkit=""), "a CDI file"),
    ("swap", case(memory=GOOD["memory"].replace("SwapTotal: 0", "SwapTotal: 16777216"), gpu="NVIDIA H100, 580\n"), "memory of its own"),
    ("ports", case(wanted=WEB, listeners=LISTENS, containers=json.dumps([OURS])), "free, or ours"),
    ("others", case(containers=json.dumps([DATABASE])), "left alone: db"),
    ("others", case(containers=json.dumps([CONTAINER | {"State": {"Running": False}}])), "none"),
    ("sudo", case(sudo=Section("sudo: a password is required", 1)), "needs none"),
    ("sudo", case(sudo=MISSING, uid="0\n"), "root needs none"),
    ("name", replace(case(), place=Place(host="h", port=22, user="u", jumped=True)), "jump host"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "given", "words"), WELL)
def test_what_only_looks_like_a_fault_is_none(check: str, given: Case, words: str) -> None:
    finding = found(given, check)
    assert finding.verdict == Verdict.OK, finding
    assert words in finding.message


def test_a_right_that_would_help_is_told_and_no_fault() -> None:
    finding = found(case(sudo=Section("sudo: a password is required", 1)), "sudo")
    assert finding.fix == (
        "echo 'nvidia ALL=(root) NOPASSWD: /usr/bin/tee /proc/sys/vm/drop_caches' | sudo tee /etc/sudoers.d/sparkkeep",
    )


@pytest.mark.parametrize("part", [name for name in GOOD if name not in {"units", "sudo", "toolkit", "driver", "rdma"}])
def test_what_was_not_answered_is_never_called_broken(part: str) -> None:
    """A part that is lost makes checks unknown, or changes nothing: no fault is made up."""
    findings = judge(case(wanted=Wanted(groups=("big",), ports={8000: "web"}), **{part: None}))
    assert {each.verdict for each in findings} <= {Verdict.OK, Verdict.UNKNOWN}, findings


def test_behind_a_broken_way_everything_is_unknown() -> None:
    findings = judge(cut("port", "ConnectionRefused"))
    assert [each.verdict.value for each in findings] == ["ok", "fail", *["unknown"] * (len(CHECKS) - 2)]
    assert not healthy(findings)
    assert not reachable(findings)


def test_an_engine_that_refuses_is_not_called_stopped() -> None:
    refused = case(dockerinfo=REFUSED, account="docker:x:988:\n", containers=REFUSED)
    told = {each.check: each.verdict for each in judge(refused)}
    assert told["docker-daemon"] == told["docker-version"] == told["gpu-runtime"] == told["others"] == Verdict.UNKNOWN


def test_a_port_and_a_user_stand_in_the_commands() -> None:
    spark = Spark(host="box", user="me", port=2222, jump="gate@way")
    given = replace(cut("login", "AuthRefused"), spark=spark)
    assert found(given, "login").fix == ("ssh-copy-id -o ProxyJump=gate@way -p 2222 me@box",)


@given(
    true=st.floats(min_value=-1e7, max_value=1e7),
    sent=st.floats(min_value=1e9, max_value=2e9),
    took=st.floats(min_value=0, max_value=60),
    when=st.floats(min_value=0, max_value=1),
)
def test_the_skew_is_never_told_larger_than_it_is(true: float, sent: float, took: float, when: float) -> None:
    """The Spark looked at its clock some time in between, and told whole seconds."""
    told = skew(int(sent + took * when + true), sent, sent + took)
    assert abs(told) <= abs(true) + 1e-3
    assert told * true >= -1e-3
    assert abs(true) - abs(told) <= took + 1 + 1e-3


def test_what_a_clock_may_be_off() -> None:
    assert 1 < SMALL < LARGE


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), st.builds(Section, st.text(max_size=80), st.integers(0, 255))))
def test_whatever_a_spark_says_it_gets_every_verdict(said: dict[str, Section]) -> None:
    findings = judge(case(wanted=Wanted(groups=("big",), ports={8000: "web"}), **said))
    assert [each.check for each in findings] == list(CHECKS)
    assert all(each.message for each in findings)

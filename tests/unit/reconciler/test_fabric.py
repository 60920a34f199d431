"""Which network the ranks of a group meet on."""

from __future__ import annotations

from reconciler import facts
from reconciler.engines import Fabric
from reconciler.fabric import fabrics
from reconciler.facts import Section
from reconciler.model import Facts, Rdma, Scan, Sight
from state.desired import Spark

TWO_CABLES = {
    "lo": ("127.0.0.1", "::1"),
    "docker0": ("172.17.0.1",),
    "enP7s7": ("192.168.1.{n}", "fe80::{n}"),
    "enp1s0f0np0": ("169.254.7.{n}",),
    "enp1s0f1np1": ("10.0.0.{n}",),
}
DEVICES = (Rdma(device="rocep1s0f0", interface="enp1s0f0np0", gid_index=3),)


def seen(n: int, rdma: tuple[Rdma, ...] = (), gpu: bool | None = True, **interfaces: tuple[str, ...]) -> Sight:
    found = {name: tuple(a.format(n=n) for a in addresses) for name, addresses in (interfaces or TWO_CABLES).items()}
    known = Facts(
        boot_id="b",
        memory_total=2**37,
        memory_available=2**36,
        listeners=frozenset(),
        rdma=rdma,
        gpu=gpu,
        interfaces=found,
    )
    scan = Scan(began=1, ended=2, taken_at=3, containers=(), images={}, facts=known)
    return Sight(scan=scan, unknown="", message="")


def sparks(*names: str, **more: str) -> dict[str, Spark]:
    return {name: Spark.model_validate({"host": name, **more}) for name in names}


def test_the_network_with_rdma_comes_first() -> None:
    found = fabrics(sparks("a", "b"), {"a": seen(11, DEVICES), "b": seen(12, DEVICES)})
    assert found["a"] == Fabric(
        address="169.254.7.11", interface="enp1s0f0np0", rdma=("rocep1s0f0",), gid_index=3, gpus=True, memory=2**37
    )
    assert found["b"].address == "169.254.7.12"


def test_without_rdma_the_network_that_reaches_most_sparks_is_taken() -> None:
    lonely = seen(12, enP7s7=("192.168.1.12",), enp1s0f1np1=("10.9.9.12",))
    found = fabrics(sparks("a", "b"), {"a": seen(11), "b": lonely})
    assert [found[name].address for name in "ab"] == ["192.168.1.11", "192.168.1.12"]


def test_what_the_operator_wrote_is_taken() -> None:
    found = fabrics(sparks("a", interface="enp1s0f1np1"), {"a": seen(11, DEVICES)})
    assert (found["a"].interface, found["a"].address, found["a"].rdma) == ("enp1s0f1np1", "10.0.0.11", ())


def test_an_interface_that_is_not_there_gives_no_address() -> None:
    assert fabrics(sparks("a", interface="eth9"), {"a": seen(11)})["a"] == Fabric(memory=2**37)


def test_a_silent_spark_keeps_what_was_known_and_an_unseen_one_has_nothing() -> None:
    silent = Sight(scan=seen(11).scan, unknown="ConnectTimeout", message="silent")
    found = fabrics(sparks("a", "b"), {"a": silent, "b": Sight()})
    assert found["a"].address == "192.168.1.11"
    assert "b" not in found


def test_only_a_machine_without_the_driver_has_no_gpu() -> None:
    for gpu, has in ((True, True), (None, True), (False, False)):
        assert fabrics(sparks("a"), {"a": seen(11, gpu=gpu)})["a"].gpus is has


NO_PROGRAM = "timeout: failed to run command 'nvidia-smi': No such file or directory"
KERNEL = "boot\nMemTotal: 1 kB\nMemAvailable: 1 kB\n"


def read(before: Facts | None = None, **sections: Section) -> Facts:
    return facts.read_facts({"kernel": Section(KERNEL, 0), "listeners": Section("", 0), **sections}, before=before)


def test_a_driver_that_hangs_is_not_a_machine_without_a_gpu() -> None:
    good = read(gpu=Section("NVIDIA GB10, 3, 41, 12.34\n", 0))
    assert good.gpu is True
    assert read(gpu=Section("", 124)).gpu is None
    assert read(gpu=Section("", 124), before=good).gpu is True
    assert read(gpu=Section(NO_PROGRAM, 127)).gpu is False


def test_a_driver_that_is_being_updated_takes_the_gpu_from_no_model() -> None:
    """Its program is gone for a minute: that was drift, and every model of the Spark was made anew without its GPU."""
    good = read(gpu=Section("NVIDIA GB10, 3, 41, 12.34\n", 0))
    assert read(gpu=Section(NO_PROGRAM, 127), before=good).gpu is True


def test_a_machine_without_timeout_is_not_one_without_a_gpu() -> None:
    assert read(gpu=Section("sh: 7: timeout: not found", 127)).gpu is None


def test_rdma_devices_with_the_entry_that_roce_uses() -> None:
    port = "/sys/class/infiniband/rocep1s0f0/ports/1"
    text = "".join(
        f"{port}/gid_attrs/types/{n}:{kind}\n{port}/gid_attrs/ndevs/{n}:enp1s0f0np0\n{port}/gids/{n}:{gid}\n"
        for n, kind, gid in (
            (0, "IB/RoCE v1", "fe80:0000:0000:0000:4ebb:47ff:fe2a:0001"),
            (1, "RoCE v2", "fe80:0000:0000:0000:4ebb:47ff:fe2a:0001"),
            (2, "IB/RoCE v1", "0000:0000:0000:0000:0000:ffff:a9fe:070b"),
            (3, "RoCE v2", "0000:0000:0000:0000:0000:ffff:a9fe:070b"),
        )
    )
    assert read(rdma=Section(text, 0)).rdma == (Rdma(device="rocep1s0f0", interface="enp1s0f0np0", gid_index=3),)
    assert read(rdma=Section("grep: nothing", 0)).rdma == ()

"""A Spark on which all is well, as its answers say; tests change one of them."""

import json
from dataclasses import replace

from reconciler.doctor.asked import PARTS
from reconciler.doctor.case import Broken, Case, Place, Stage, Wanted
from reconciler.doctor.finding import Finding
from reconciler.doctor.verdict import judge
from reconciler.facts import NOT_FOUND, Section
from state.desired import Spark

NOW = 1_790_000_000.0
SPARK = Spark(host="192.168.1.11", user="nvidia")
INFO = {
    "ServerVersion": "28.3.3",
    "DockerRootDir": "/var/lib/docker",
    "Runtimes": {"nvidia": {}, "runc": {}},
}
DISK = (
    "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/nvme0n1p2 3844640180 812345678 2836912345 23% /\n"
)
LINKS = (
    "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT\n"
    "3: enp1s0f0np0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 9000 qdisc mq state UP mode DEFAULT\n"
)
ADDRESSES = (
    "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n"
    "3: enp1s0f0np0    inet 169.254.7.1/16 scope link enp1s0f0np0\\       valid_lft forever\n"
)
RDMA = "\n".join(  # noqa: FLY002
    (
        "/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/types/3:RoCE v2",
        "/sys/class/infiniband/rocep1s0f0/ports/1/gid_attrs/ndevs/3:enp1s0f0np0",
        "/sys/class/infiniband/rocep1s0f0/ports/1/gids/3:0000:0000:0000:0000:0000:ffff:a9fe:0701",
    )
)
GOOD = {
    "clock": f"{int(NOW)}\n",
    "user": "nvidia\n",
    "uid": "1000\n",
    "groups": "nvidia docker\n",
    "home": "/home/nvidia\n",
    "path": "/usr/local/bin:/usr/bin:/bin\n",
    "lacking": "",
    "elsewhere": "/usr/bin/docker\n/usr/bin/nvidia-smi\n",
    "leaseplace": "",
    "account": "root:x:0:\ndocker:x:988:nvidia\n",
    "socket": "",
    "dockercli": "Docker version 28.3.3, build 980b856\n",
    "dockerinfo": json.dumps(INFO) + "\n",
    "containers": "[]\n",
    "gpu": "NVIDIA GB10, 580.95.05\n",
    "driver": "NVRM version: 580.95.05\n",
    "toolkit": "nvidia-container-runtime-hook\nnvidia-ctk\n",
    "disk": DISK,
    "diskdocker": DISK,
    "diskweights": DISK,
    "weights": "/home/nvidia/.cache/huggingface\n",
    "memory": "MemTotal: 127601452 kB\nMemAvailable: 118000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
    "holders": " 512000 dockerd\n",
    "listeners": "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n",
    "interfaces": ADDRESSES,
    "links": LINKS,
    "rdma": RDMA,
    "units": "",
    "sudo": "/usr/bin/tee /proc/sys/vm/drop_caches\n",
}
assert GOOD.keys() == dict(PARTS).keys()
MISSING = Section("sh: 1: not found", NOT_FOUND)
REFUSED = Section("permission denied while trying to connect to the Docker daemon socket", 1)


def df(available: int, total: int = 4000 * 2**20) -> str:
    """What `df -P -k` says of so many KiB."""
    return f"Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/x {total} 1 {available} 1% /\n"


def case(*, wanted: Wanted | None = None, spark: Spark = SPARK, **changed: Section | str | None) -> Case:
    """The good one, with other answers; None takes one away."""
    told = {name: Section(text, 0) for name, text in GOOD.items()}
    for name, section in changed.items():
        if section is None:
            del told[name]
        else:
            told[name] = Section(section, 0) if isinstance(section, str) else section
    return Case(
        name="spark-1",
        spark=spark,
        place=Place(host="192.168.1.11", port=22, user="nvidia"),
        addresses=("192.168.1.11",),
        told=told,
        sent_at=NOW,
        answered_at=NOW + 0.5,
        forwards=True,
        wanted=wanted or Wanted(),
    )


def cut(stage: Stage, reason: str, message: str = "", detail: str = "", **more: object) -> Case:
    """The way there broke."""
    broken = Broken(stage=stage, reason=reason, message=message, detail=detail)
    return replace(case(), told=None, broken=broken, **more)


def found(given: Case, check: str) -> Finding:
    """What is said of one check."""
    return next(each for each in judge(given) if each.check == check)

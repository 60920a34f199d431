"""What can be wrong with a host that is to become a Spark: each fault is done to it for real, and undone."""

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.hosts import images
from tests.hosts.host import Host
from tests.hosts.shell import call, wait_for
from tests.hosts.tools import CONTROL, HERE, INSIDE, SSH_PATH

CACHE = "/root/.cache/huggingface"
USER = "keeper"
PROGRAMS = "/usr/bin:/usr/sbin"
SPEAKS = (
    "import socket; s = socket.create_server(('', {port}))\nwhile True: s.accept()[0].sendall(b'220 files here\\r\\n')"
)
OLD = """
import http.server, json, socketserver
class Engine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"OK" if "_ping" in self.path else json.dumps({"ServerVersion": "18.09.1", "Runtimes": {"nvidia": {}},
            "DockerRootDir": "/var/lib/docker"}).encode() if "info" in self.path else b"[]"
        self.send_response(200)
        self.send_header("Api-Version", "1.39")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_HEAD = do_GET
    def address_string(self): return "docker"
    def log_message(self, *told): pass
socketserver.UnixStreamServer("/var/run/docker.sock", Engine).serve_forever()
"""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`seed` does it; what it gives back is run to undo it. `words` stand in what is said of `check`.

    `also`: other checks that can't be well with it. `mended`: the commands that doctor names are run there, and it is
    well again. `reached`: the Spark can be logged in to, so that `init` declares it.
    """

    name: str
    check: str
    verdict: str
    words: str
    seed: Callable[[Host, ExitStack], None]
    also: frozenset[str] = frozenset()
    mended: bool = False
    reached: bool = True
    user: str = "root"
    port: int | None = None
    host: str | None = None
    key: bool = True
    wanted: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def sh(host: Host, script: str) -> str:
    return host.run(["sh", "-c", script])


@contextmanager
def healthy(host: Host) -> Iterator[None]:
    """A host with room for weights, and with a user that may use Docker: as a Spark's owner has it."""
    (host.control / "docker.log").touch()
    (host.control / "docker.log").chmod(0o666)  # the counting shim writes as whoever calls docker
    sh(host, f"mkdir -p {CACHE} && mount -t tmpfs -o size=400g tmpfs {CACHE}")
    sh(host, f"id {USER} 2>/dev/null || useradd --create-home --shell /bin/bash --password '*' {USER}")
    sh(host, f"usermod -G docker {USER} && mkdir -p /home/{USER}/.cache/huggingface")
    sh(host, f"mount -t tmpfs -o size=400g,uid={USER},gid={USER} tmpfs /home/{USER}/.cache/huggingface")
    try:
        yield
    finally:
        host.resume()
        sh(host, f"umount /home/{USER}/.cache/huggingface {CACHE}; rm -f /root/.bashrc /home/{USER}/.bashrc")


def background(host: Host, stack: ExitStack, argv: list[str], ready: str) -> None:
    """A program of the host that runs until the end; `ready` is a command that succeeds once it does."""
    line = f"setsid --fork {shlex.join(argv)} </dev/null >/dev/null 2>&1"
    sh(host, line)
    mark = shlex.quote(argv[-1][:40])
    stack.callback(sh, host, f"pkill --full --exact -- {shlex.quote(shlex.join(argv))} || pkill --full -- {mark}; true")
    wait_for(
        lambda: host.run(["sh", "-c", f"{ready} && echo yes"], check=False).startswith("yes"), f"{argv[:2]} to run"
    )


def python(host: Host, stack: ExitStack, name: str, text: str, ready: str) -> None:
    (host.control / name).write_text(text)
    background(host, stack, ["python3", f"{CONTROL}/{name}"], ready)


def bound(host: Host, stack: ExitStack, path: str, text: str, mode: int = 0o644) -> None:
    """Another file in place of this one, as LXCFS does it."""
    name = path.strip("/").replace("/", "-")
    (host.control / name).write_text(text)
    (host.control / name).chmod(mode)
    sh(host, f"mount --bind {CONTROL}/{name} {path}")
    stack.callback(sh, host, f"umount {path}")


def meminfo(host: Host, **rows: int) -> str:
    said = host.run(["cat", "/proc/meminfo"])
    kept = [line for line in said.splitlines() if line.partition(":")[0] not in rows]
    return "".join(f"{line}\n" for line in (*(f"{name}:  {size} kB" for name, size in rows.items()), *kept))


def bashrc(text: str) -> Callable[[Host, ExitStack], None]:
    def seed(host: Host, stack: ExitStack) -> None:
        host.run(["tee", "/root/.bashrc"], text=text)
        stack.callback(host.run, ["rm", "-f", "/root/.bashrc"])

    return seed


def path(value: str) -> Callable[[Host, ExitStack], None]:
    return lambda host, _: host.sshd_option(f"SetEnv PATH={value}")


def cut(host: Host, stack: ExitStack) -> None:
    host.cut()
    stack.callback(host.heal)


def hang(host: Host, stack: ExitStack) -> None:
    host.hang()
    stack.callback(host.resume)


def no_ssh(host: Host, stack: ExitStack) -> None:
    python(host, stack, "speaks.py", SPEAKS.format(port=2121), "ss -Htln | grep -q :2121")


def no_docker(host: Host, stack: ExitStack) -> None:
    for program in ("/usr/bin/docker", "/usr/local/bin/docker"):
        sh(host, f"[ ! -e {program} ] || mount --bind /dev/null {program}")
        stack.callback(sh, host, f"umount {program} 2>/dev/null; true")
    host.sshd_option(f"SetEnv PATH={INSIDE}/bin:{PROGRAMS}")


def not_in_group(host: Host, stack: ExitStack) -> None:
    sh(host, f"usermod -G '' {USER}")


def stopped(host: Host, stack: ExitStack) -> None:
    host.stop_daemon()
    stack.callback(host.start_daemon)


def frozen(host: Host, stack: ExitStack) -> None:
    sh(host, "kill -STOP $(cat /run/docker.pid)")
    stack.callback(sh, host, "kill -CONT $(cat /run/docker.pid)")


def old_docker(host: Host, stack: ExitStack) -> None:
    stopped(host, stack)
    sh(host, "rm -f /var/run/docker.sock")
    stack.callback(sh, host, "rm -f /var/run/docker.sock")
    python(host, stack, "old.py", OLD, "[ -S /var/run/docker.sock ]")


def driver_broken(host: Host, stack: ExitStack) -> None:
    text = "#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'\nexit 18\n"
    bound(host, stack, f"{INSIDE}/bin/nvidia-smi", text, 0o755)


def no_runtime(host: Host, stack: ExitStack) -> None:
    host.forget_gpus()


def docker_disk(host: Host, stack: ExitStack) -> None:
    host.stop_daemon()
    sh(host, "mount -t tmpfs -o size=64m tmpfs /var/lib/docker")
    stack.callback(host.start_daemon)
    stack.callback(sh, host, "umount /var/lib/docker")
    stack.callback(host.stop_daemon)
    host.start_daemon()


def weights_disk(host: Host, stack: ExitStack) -> None:
    sh(host, f"mount -o remount,size=32m {CACHE} && head -c 30M /dev/zero >{CACHE}/full")
    stack.callback(sh, host, f"rm {CACHE}/full && mount -o remount,size=400g {CACHE}")


def not_writable(host: Host, stack: ExitStack) -> None:
    folder = f"/home/{USER}/.cache/huggingface"
    sh(host, f"chown root {folder} && chmod 755 {folder}")
    stack.callback(sh, host, f"chown {USER} {folder}")


def little_memory(host: Host, stack: ExitStack) -> None:
    text = meminfo(host, MemTotal=127_601_452, MemAvailable=1_048_576)
    bound(host, stack, "/proc/meminfo", text)


def swap(host: Host, stack: ExitStack) -> None:
    bound(host, stack, "/proc/meminfo", meminfo(host, SwapTotal=16 * 2**20, SwapFree=15 * 2**20))


def skewed(seconds: int) -> Callable[[Host, ExitStack], None]:
    def seed(host: Host, stack: ExitStack) -> None:
        built = host.control / "skew.so"
        options = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", f"-DKEEP_SKEW={seconds}"]
        call(["gcc", *options, "-o", str(built), str(HERE / "skew.c"), "-ldl"])
        host.run(["tee", "/etc/ld.so.preload"], text=f"{CONTROL}/skew.so\n")
        stack.callback(host.run, ["rm", "/etc/ld.so.preload"])

    return seed


def taken(host: Host, stack: ExitStack) -> None:
    python(host, stack, "taken.py", SPEAKS.format(port=8123), "ss -Htln | grep -q :8123")


def other_manager(host: Host, stack: ExitStack) -> None:
    host.docker("run", "-d", "--network", "host", "--name", "sparkrun_4f2a_solo", "keep/echo:1", "--port", "9321")
    stack.callback(host.docker, "rm", "-f", "sparkrun_4f2a_solo")


def lease_place(host: Host, stack: ExitStack) -> None:
    sh(host, "chmod 755 /run/lock /dev/shm")
    stack.callback(sh, host, "chmod 1777 /run/lock /dev/shm")


def small_frames(host: Host, stack: ExitStack) -> None:
    sh(
        host,
        "ip link add fast0 type veth peer name fast1 && ip link set fast1 up && ip addr add 192.168.177.1/24 dev fast0",
    )
    stack.callback(sh, host, "ip link delete fast0")


def foreign_key(host: Host, stack: ExitStack) -> None:
    host.new_host_key()


def nothing(host: Host, stack: ExitStack) -> None:
    """The fault is in how it is named."""


GROUP = {"across": "fast0"}
ENGINE = frozenset(
    {"docker-group", "docker-daemon", "docker-version", "gpu-runtime", "disk-docker", "forwarding", "others"}
)
FAULTS = (
    Fault(name="a name nobody knows", check="name", verdict="fail", words="leads to no address", seed=nothing,
          host="spark.invalid", reached=False),
    Fault(name="nothing at the port", check="port", verdict="fail", words="nothing listens at its port 2222",
          seed=nothing, port=2222, reached=False),
    Fault(name="link cut", check="port", verdict="fail", words="its cable is out", seed=cut, reached=False),
    Fault(name="SSH server hangs", check="ssh", verdict="fail", words="nobody answers", seed=hang, reached=False),
    Fault(name="another server at the port", check="ssh", verdict="fail", words="'220 files here'", seed=no_ssh,
          port=2121, reached=False),
    Fault(name="host key changed", check="host-key", verdict="fail", words="instead of SHA256:", seed=foreign_key,
          reached=False),
    Fault(name="wrong key", check="login", verdict="fail", words="does not take the key", seed=nothing, key=False,
          reached=False),
    Fault(name="wrong user", check="login", verdict="fail", words="for the user nobody-here", seed=nothing,
          user="nobody-here", reached=False),
    Fault(name="noisy .bashrc", check="shell", verdict="warn", words="'Welcome to spark-", mended=True,
          seed=bashrc("echo Welcome to $(hostname)\n")),
    Fault(name=".bashrc that ends", check="shell", verdict="fail", words="does not run what it is given",
          seed=bashrc("exit 0\n"), reached=False),
    Fault(name="account without a shell", check="shell", verdict="fail", words="does not run what it is given", mended=True,
          seed=lambda host, _: host.set_login_shell("/usr/sbin/nologin"), reached=False),
    Fault(name="no docker", check="docker", verdict="fail", words="docker", seed=no_docker, also=ENGINE),
    Fault(name="not in the group docker", check="docker-group", verdict="fail", words="is not in the group docker",
          seed=not_in_group, user=USER, mended=True, also=ENGINE),
    Fault(name="dockerd stopped", check="docker-daemon", verdict="fail", words="nothing is at /var/run/docker.sock",
          seed=stopped, also=ENGINE),
    Fault(name="dockerd hangs", check="docker-daemon", verdict="fail", words="it hangs", seed=frozen, also=ENGINE),
    Fault(name="old docker", check="docker-version", verdict="fail", words="18.09.1 is too old", seed=old_docker),
    Fault(name="no nvidia-smi", check="gpu", verdict="fail", words="no nvidia-smi",
          seed=path(SSH_PATH.replace(f"{INSIDE}/bin:", ""))),
    Fault(name="driver broken", check="gpu", verdict="fail", words="version mismatch", seed=driver_broken),
    Fault(name="no GPU runtime", check="gpu-runtime", verdict="fail", words="container toolkit", seed=no_runtime),
    Fault(name="Docker's disk full", check="disk-docker", verdict="fail", words="less than 5.0 GiB", seed=docker_disk),
    Fault(name="weights' disk full", check="disk-weights", verdict="fail", words="2 MiB free of 32 MiB",
          seed=weights_disk),
    Fault(name="weights' folder of root", check="disk-weights", verdict="fail", words="may not write to",
          seed=not_writable, user=USER, mended=True),
    Fault(name="low memory", check="memory", verdict="fail", words="1.0 GiB of 121.7 GiB", seed=little_memory),
    Fault(name="swap on", check="swap", verdict="warn", words="16.0 GiB of swap is on, 1.0 GiB of it used", seed=swap),
    Fault(name="clock ahead", check="clock", verdict="fail", words="2 h ahead of ours", seed=skewed(7205)),
    Fault(name="clock behind", check="clock", verdict="warn", words="behind ours", seed=skewed(-90)),
    Fault(name="port taken", check="ports", verdict="fail", words="port 8123, declared for web, is taken",
          seed=taken, wanted={"port": 8123}),
    Fault(name="another manager", check="others", verdict="warn", words="sparkrun_4f2a_solo", seed=other_manager,
          mended=True),
    Fault(name="no forwarding", check="forwarding", verdict="warn", words="does not forward",
          seed=lambda host, _: host.sshd_option("AllowStreamLocalForwarding no")),
    Fault(name="no place for the lease", check="lease", verdict="fail", words="/run/lock", seed=lease_place, user=USER,
          mended=True),
    Fault(name="fast network down", check="fabric", verdict="warn", words="fast0 is down", seed=small_frames,
          wanted=GROUP),
)  # fmt: skip


def declared(host: Host, fault: Fault, folder: Path) -> Path:
    """A desired state that wants of the host what the fault takes away."""
    spark: dict[str, object] = {"host": host.address, "user": fault.user}
    sparks = {"spark-1": spark, "spark-2": {"host": "192.0.2.1"}}
    recipe = {"image": images.NAMES[0], "port": fault.wanted.get("port", 8124), "memory": "64MiB", "probe": "none"}
    workload: dict[str, object] = {"recipe": recipe, "on": "spark-1"}
    if "across" in fault.wanted:
        spark["interface"] = fault.wanted["across"]
        model = {"engine": "vllm", "model": "org/m", "image": "img:1", "memory": "1GiB"}
        workload = {"recipe": model, "across": ["spark-1", "spark-2"]}
    path = folder / "desired.yaml"
    path.write_text(json.dumps({"sparks": sparks, "models": {"web": workload}}))
    return path

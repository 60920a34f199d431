"""One real host: namespaces, OpenSSH and a Docker engine of its own, and the faults it can be given."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import BoundedSemaphore

from tests.hosts import group, images, net
from tests.hosts.shell import HostError, call, wait_for
from tests.hosts.tools import CONTROL, HERE, INSIDE, PLAIN_PATH, SSH_PATH, program

_SSHD = f"""
Port 22
ListenAddress 0.0.0.0
HostKey {CONTROL}/hostkey
AuthorizedKeysFile {CONTROL}/authorized_keys
PidFile none
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv PATH={SSH_PATH}
Subsystem sftp internal-sftp
"""
_CLIENT = {"PATH": os.defpath, "HOME": "/nonexistent", "DOCKER_CONFIG": "/nonexistent"}  # not this user's settings
_ENGINES = BoundedSemaphore(4)  # engines that start at the same time


class Host:
    """One host of a fleet; `Fleet` makes it. Only /run, /tmp and processes are lost in a crash."""

    port = 22

    def __init__(
        self,
        fleet: str,
        number: int,
        network: str,
        base: Path,
        *,
        engine: bool = True,
        shared: Sequence[Path] = (),
    ) -> None:
        self.number = number
        self.name = f"spark-{number}"
        self.address = net.address_of(network, number)
        self.folder = base / self.name
        self.control = self.folder / "control"
        self.docker_socket = self.folder / "control/docker.sock"
        self._fleet, self._network, self._tools = fleet, network, base / "tools"
        self._group, self._space = f"{fleet}/{self.name}", f"{fleet}-{number}"
        self._engine, self._shared, self._options = engine, shared, list[str]()
        self._gpus = True  # the engine knows a runtime called nvidia
        self._outer: subprocess.Popen[bytes] | None = None

    # Life

    def boot(self) -> None:
        """Start a host that is down, and wait for its SSH server and its engine."""
        if self.up():
            return
        self._prepare()
        net.add_namespace(self._fleet, self.number, self._network)
        listened = self._times_listened()
        with (self.folder / "init.log").open("ab") as log:
            self._outer = subprocess.Popen(
                [
                    "sh",
                    str(HERE / "host-join.sh"),
                    self._group,
                    "nsenter",
                    f"--net={net.NAMESPACES / self._space}",
                    "unshare",
                    "--mount",
                    "--uts",
                    "--ipc",
                    "--pid",
                    "--cgroup",
                    "--fork",
                    "--kill-child=SIGKILL",
                    "sh",
                    str(HERE / "host-init.sh"),
                    self.name,
                    str(self.folder),
                    str(self._tools),
                    *map(str, self._shared),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(lambda: self._times_listened() > listened or self._ended(), f"{self.name} to listen")
        if self._ended():
            raise HostError(f"{self.name} did not boot: {(self.folder / 'init.log').read_text()}")
        if self._engine:
            self.start_daemon()

    def crash(self) -> None:
        """Lose power: the wire goes dead first, so nobody is told; then every process ends."""
        net.unplug(self._fleet, self.number)
        group.kill(self._group)
        self.forget()
        net.remove_namespace(self._fleet, self.number)
        group.remove(self._group)

    def reboot(self) -> None:
        """Crash and boot."""
        self.crash()
        self.boot()

    def up(self) -> bool:
        """Say whether the host runs."""
        return bool(group.members(self._group))

    # Programs inside

    def docker(self, *argv: str, check: bool = True, timeout: float = 60) -> str:
        """Run the docker command against this host's engine from outside: no SSH, not counted."""
        return call(self._docker(*argv), check=check, timeout=timeout, env=_CLIENT)

    def logs(self, container: str) -> str:
        """Return all that a container printed, on standard output and error."""
        return call(self._docker("logs", container), env=_CLIENT, merge=True)

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 60,
        text: str | None = None,
    ) -> str:
        """Run a program inside the host, as root, without SSH."""
        inside = [*self._enter(), "env", "-i", "HOME=/root", f"PATH={PLAIN_PATH}", *argv]
        return call(inside, check=check, timeout=timeout, text=text)

    def load_image(self, name: str) -> None:
        """Give the engine the test image `name`, such as keep/echo:1, or `all`."""
        self.load_archive(images.archive_path(self._tools.parent / "images", name))

    def load_archive(self, archive: Path) -> None:
        """Give the engine the images in a docker archive."""
        self.docker("load", "--quiet", "--input", str(archive))

    def commands(self) -> list[list[str]]:
        """Return the arguments, from `docker` on, of every docker command that came through SSH."""
        return [argv for _, argv in self.timed_commands()]

    def timed_commands(self) -> list[tuple[float, list[str]]]:
        """Return `commands` with the time each started, in seconds since 1970."""
        log = self.control / "docker.log"
        fields = log.read_bytes().split(b"\0")[:-1] if log.exists() else []
        words = [field.decode(errors="surrogateescape") for field in fields]
        found, at = [], 0
        while at < len(words):
            begin, end = at + 2, at + 2 + int(words[at + 1])
            found.append((float(words[at]), words[begin:end]))
            at = end
        return found

    def clear_commands(self) -> None:
        """Forget the commands so far."""
        (self.control / "docker.log").unlink(missing_ok=True)

    # Engine

    def start_daemon(self) -> None:
        """Start the engine and wait until it answers; does nothing if it runs."""
        if self.daemon_answers():
            return
        gateway = net.gateway_of(self._network)
        argv = [
            "dockerd",
            "-H",
            "unix:///var/run/docker.sock",
            "-H",
            f"unix://{CONTROL}/docker.sock",
            "--pidfile=/run/docker.pid",
            "--log-level=warn",
            "--storage-driver=overlay2",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            f"--insecure-registry={gateway}:5000",
            f"--add-runtime=keep={INSIDE}/engine/keep-runc",
            "--default-runtime=keep",
            *([f"--add-runtime=nvidia={INSIDE}/engine/keep-runc"] if self._gpus else []),
        ]
        path = f"{INSIDE}/engine:/usr/local/sbin:/usr/sbin:/usr/bin"
        with _ENGINES:
            log = f'exec setsid --fork "$@" </dev/null >>{CONTROL}/dockerd.log 2>&1'
            inside = [*self._enter(), "env", "-i", f"PATH={path}", "HOME=/root", "sh", "-c", log, "sh", *argv]
            call(["sh", str(HERE / "host-join.sh"), self._group, *inside])
            wait_for(self.daemon_answers, f"the engine of {self.name} to answer")

    def stop_daemon(self, *, kill: bool = False) -> None:
        """Stop the engine, or kill it, and wait until it is gone with its pid file."""
        pid_file = Path(f"/proc/{self._init()}/root/run/docker.pid")
        if not pid_file.exists():
            return
        pid = pid_file.read_text().strip()
        self.run(["sh", "-c", f"kill -{'KILL' if kill else 'TERM'} {pid}"])
        inside = Path(f"/proc/{self._init()}/root/proc/{pid}")
        wait_for(lambda: not inside.exists(), f"the engine of {self.name} to stop", seconds=40)
        pid_file.unlink(missing_ok=True)

    def restart_daemon(self) -> None:
        """Stop and start the engine; containers then do what their restart policy says."""
        self.stop_daemon()
        self.start_daemon()

    def forget_gpus(self) -> None:
        """The engine as it is without NVIDIA's container toolkit; `reset` undoes it."""
        self._gpus = False
        self.restart_daemon()

    def daemon_answers(self) -> bool:
        """Say whether the engine answers a ping."""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as pipe:
            pipe.settimeout(2)
            pipe.connect(str(self.docker_socket))
            pipe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 OK" in pipe.recv(64)
        return False

    # Faults

    def cut(self) -> None:
        """Let no packet in or out; both ends keep waiting, as with a pulled cable."""
        net.cut(self._space)

    def heal(self) -> None:
        """Undo `cut`, or nothing."""
        net.heal(self._space)

    def hang(self) -> None:
        """Stop the SSH server in its tracks: connections open, and nothing answers."""
        os.kill(self._init(), signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `hang`, or nothing."""
        os.kill(self._init(), signal.SIGCONT)

    def new_host_key(self) -> None:
        """Present another host key from now on; known_hosts keeps the old one."""
        self._make_key()
        self._restart_sshd()

    def sshd_option(self, line: str) -> None:
        """Put a line at the top of sshd_config, where it wins; open connections keep the old one."""
        self._options.insert(0, line)
        self._write_config()
        self._restart_sshd()

    def set_login_shell(self, shell: str) -> None:
        """Give root of this host another login shell."""
        if not Path(shell).resolve().exists():
            raise HostError(f"{shell} is not installed")
        self.run(["usermod", "--shell", shell, "root"])

    def reset(self) -> None:
        """Undo every fault, remove every container and forget the commands; the images stay."""
        if not self.up():
            self.boot()
        self.resume()
        self.heal()
        original = self.folder / "first-hostkey"
        if self._options or original.read_bytes() != (self.control / "hostkey").read_bytes():
            self._options.clear()
            shutil.copy(original, self.control / "hostkey")
            shutil.copy(f"{original}.pub", self.control / "hostkey.pub")
            self._write_config()
            self._restart_sshd()
        if ":/bin/bash\n" not in self.run(["grep", "^root:", "/etc/passwd"]):
            self.set_login_shell("/bin/bash")
        if self._engine:
            if not self._gpus:
                self._gpus = True
                self.stop_daemon()
            self.start_daemon()
            containers = self.docker("ps", "--all", "--quiet").split()
            if containers:
                self.docker("rm", "--force", "--volumes", *containers)
        self.clear_leases()
        self.clear_commands()

    def leases(self) -> list[Path]:
        """The lease files of the sparkkeeps that keep it."""
        return list(Path(f"/proc/{self._init()}/root/run/lock").glob("sparkkeep-*.lease"))

    def clear_leases(self) -> None:
        """Whoever was killed keeps it no more, as if a minute had passed."""
        for lease in self.leases():
            lease.unlink(missing_ok=True)

    def public_key(self) -> str:
        """Return the public half of the key the host presents, as known_hosts has it."""
        return (self.control / "hostkey.pub").read_text().strip()

    def forget(self) -> None:
        """Let go of processes that someone else ended."""
        if self._outer:
            self._outer.wait()
            self._outer = None

    def inspect(self, container: str) -> dict[str, object]:
        """Return what the engine knows of one container."""
        first: dict[str, object] = json.loads(self.docker("inspect", container))[0]
        return first

    # Within

    def _prepare(self) -> None:
        self.control.mkdir(parents=True, exist_ok=True)
        (self.folder / "root").mkdir(exist_ok=True)
        group.create(self._group)
        if not (self.control / "hostkey").exists():
            self._make_key()
            shutil.copy(self.control / "hostkey", self.folder / "first-hostkey")
            shutil.copy(self.control / "hostkey.pub", self.folder / "first-hostkey.pub")
            shutil.copy(self._tools.parent / "id.pub", self.control / "authorized_keys")
        self.docker_socket.unlink(missing_ok=True)
        self._write_config()

    def _make_key(self) -> None:
        for old in ("hostkey", "hostkey.pub"):
            (self.control / old).unlink(missing_ok=True)
        call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.control / "hostkey")])

    def _write_config(self) -> None:
        (self.control / "sshd_config").write_text("\n".join(self._options) + _SSHD)

    def _restart_sshd(self) -> None:
        if not self.up():
            return
        self.run(["sshd", "-t", "-f", f"{CONTROL}/sshd_config"])
        listened = self._times_listened()
        os.kill(self._init(), signal.SIGHUP)
        wait_for(lambda: self._times_listened() > listened, f"sshd of {self.name} to listen again")

    def _times_listened(self) -> int:
        log = self.control / "sshd.log"
        return log.read_bytes().count(b"Server listening on") if log.exists() else 0

    def _ended(self) -> bool:
        return self._outer is not None and self._outer.poll() is not None

    def _init(self) -> int:
        pid = group.first_process(self._group)
        if pid is None:
            raise HostError(f"{self.name} is down")
        return pid

    def _docker(self, *argv: str) -> list[str]:
        return [program("docker"), "-H", f"unix://{self.docker_socket}", *argv]

    def _enter(self) -> list[str]:
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        return ["nsenter", "--target", str(self._init()), *spaces, "--"]

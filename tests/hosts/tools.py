"""What stands on a host's PATH besides Debian: compiled or copied once for a fleet, mounted at /opt/keep."""

import shutil
from pathlib import Path

from tests.hosts.shell import HostError, call

HERE = Path(__file__).parent
INSIDE = "/opt/keep"  # the tools as a host sees them
CONTROL = "/run/keep"  # a host's control folder as it sees it
SSH_PATH = f"{INSIDE}/ssh:{INSIDE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
PLAIN_PATH = f"{INSIDE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"


def build(folder: Path) -> None:
    """Fill `folder`: ssh/docker (the counting shim), bin/nvidia-smi, engine/ (what dockerd calls)."""
    for part in ("ssh", "bin", "engine"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    compile_static(
        HERE / "shim.c",
        folder / "ssh/docker",
        COMMAND_LOG=f"{CONTROL}/docker.log",
        REAL_DOCKER=program("docker"),
    )
    compile_static(HERE / "runtime.c", folder / "engine/keep-runc", REAL_RUNC=program("runc"))
    _script(folder / "bin/nvidia-smi", (HERE / "nvidia-smi.sh").read_text())
    # Docker takes --gpus when this is on its PATH, and calls it before each such container starts.
    _script(folder / "engine/nvidia-container-runtime-hook", "#!/bin/sh\nexec cat >/dev/null\n")


def compile_static(source: Path, target: Path, **strings: str) -> None:
    """Compile one C file; `strings` become macros that hold a string."""
    macros = [f'-D{name}="{value}"' for name, value in strings.items()]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    call(["gcc", "-static", "-O2", "-s", *warnings, *macros, "-o", str(target), str(source)])


def program(name: str) -> str:
    """Return the path of a program of this machine."""
    found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if not found:
        raise HostError(f"{name} is not installed")
    return found


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)

"""The one script that doctor runs on a Spark, and the reading of its answer. Pure: text out, text in. It only looks.

Parts, sentinels and their reading are those of a scan (`reconciler.facts`). What an ordinary user may not see is not
asked for with more rights: it stays unknown. The script is plain `sh`, and each program that might hang has a limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reconciler.engine import docker_host
from reconciler.facts import CLI, LISTENING, RDMA, ScanFailed, Section, end_mark, sections
from reconciler.launch import DROP_CACHES
from reconciler.shell import Arg, home_path, join, quote

LIMIT: Final = 60.0  # seconds for all of it
NEEDED: Final = (
    "sh",
    "base64",
    "cat",
    "flock",
    "timeout",
    "df",
    "stat",
    "find",
    "head",
    "grep",
    "sort",
    "tr",
    "mktemp",
)
FOR_WEIGHTS: Final = ("curl", "sha256sum", "sha1sum", "truncate", "sed")
FOR_GROUPS: Final = ("ip",)
TOOLKIT: Final = ("nvidia-container-runtime-hook", "nvidia-container-toolkit", "nvidia-container-runtime", "nvidia-ctk")
FOLDERS: Final = ("/usr/bin", "/usr/local/bin", "/usr/sbin", "/snap/bin", "/usr/local/cuda/bin")
HOLDERS: Final = "4"
MANAGERS: Final = ("ollama", "vllm", "sglang", "llama", "gpustack", "spark-vllm", "sparkrun", "k3s", "kubelet", "nomad")

PARTS: Final[tuple[tuple[str, str], ...]] = (
    ("clock", "date +%s"),
    ("user", "id -un"),
    ("uid", "id -u"),
    ("groups", "id -nG"),
    ("home", """printf '%s\\n' "$HOME" """),
    ("path", """printf '%s\\n' "$PATH" """),
    ("lacking", "lacking"),
    ("elsewhere", "elsewhere"),
    ("leaseplace", "leaseplace"),
    ("account", "cat /etc/group"),
    ("socket", "socket"),
    ("dockercli", "docker --version"),
    ("dockerinfo", "engine docker info --format '{{json .}}'"),
    ("containers", f"engine {join(CLI['containers'])}"),
    ("gpu", "timeout 10 nvidia-smi --query-gpu=name,driver_version --format=csv,noheader"),
    ("driver", "cat /proc/driver/nvidia/version"),
    ("toolkit", "toolkit"),
    ("disk", "timeout 5 df -P -k /"),
    ("diskdocker", "dockerdisk"),
    ("diskweights", "weightsdisk"),
    ("weights", "weights"),
    ("memory", "cat /proc/meminfo"),
    ("holders", f"ps -eo rss=,comm= --sort=-rss | head -n {HOLDERS}"),
    ("listeners", "listening"),
    ("interfaces", "ip -o addr show"),
    ("links", "ip -o link show"),
    ("rdma", "rdma"),
    ("units", "units"),
    ("sudo", f"timeout 5 sudo -n -l tee {DROP_CACHES}"),
)


FUNCTIONS: Final = r"""
lacking() { for t in $tools; do command -v "$t" >/dev/null 2>&1 || printf '%s\n' "$t"; done; :; }
elsewhere() {
for d in $folders; do for t in docker nvidia-smi; do if [ -x "$d/$t" ]; then printf '%s\n' "$d/$t"; fi; done; done; :
}
leaseplace() { [ -k /run/lock ] || [ -w /dev/shm ]; }
socket() { [ -e "$place" ] || return 3; [ -w "$place" ] || return 4; }
toolkit() { for t in $gpu_tools; do if command -v "$t" >/dev/null 2>&1; then printf '%s\n' "$t"; fi; done; :; }
nearest() { d=$1; until [ -e "$d" ]; do d=$(dirname "$d"); done; printf '%s\n' "$d"; }
space() { timeout 5 df -P -k "$(nearest "$1")"; }
engine() { [ -z "$hangs" ] || return 124; timeout 10 "$@"; r=$?; [ "$r" -ne 124 ] || hangs=yes; return "$r"; }
dockerdisk() { r=$(engine docker info --format '{{.DockerRootDir}}') || return 3; space "$r"; }
weightsdisk() { space "$cache"; }
weights() { d=$(nearest "$cache"); printf '%s\n' "$d"; [ -w "$d" ]; }
units() ( set -f; timeout 5 systemctl list-units --type=service --state=running --no-legend --plain $managers; )
s() { n=$1; shift; printf '=%s %s\n' "$nonce" "$n"; "$@" 2>&1; printf '\n=%s %s %s\n' "$nonce" "$n" "$?"; }
"""


def script(nonce: str, *, socket: str, weights: str) -> str:
    """The script. `nonce` must be unguessable; `weights` is the folder that fetches go to."""
    values: dict[str, Arg] = {
        "nonce": nonce,
        "tools": " ".join((*NEEDED, *FOR_WEIGHTS, *FOR_GROUPS)),
        "gpu_tools": " ".join(TOOLKIT),
        "folders": " ".join(FOLDERS),
        "managers": " ".join(f"{name}*" for name in MANAGERS),
        "hangs": "",
        "place": home_path(socket),
        "cache": home_path(weights),
    }
    head = f"{docker_host(socket)}LC_ALL=C; export LC_ALL"
    given = (f"{name}={quote(value)}" for name, value in values.items())
    asked = (f"p_{name}() {{ {command}; }}\ns {name} p_{name}" for name, command in PARTS)
    end = f"printf '%s\\n={nonce} end\\n' \"$answer\""
    return "\n".join((head, *given, LISTENING, RDMA, FUNCTIONS, "answer=$(", *asked, ")", end))


def read(answer: str, nonce: str) -> tuple[Mapping[str, Section], str]:
    """The parts, and what was printed before the first of them. Raises ScanFailed if the answer is not whole."""
    noise, mark, rest = answer.partition(f"={nonce} ")
    if not mark:
        raise ScanFailed("NoAnswer", noise.strip())
    if end_mark(nonce) not in rest:
        raise ScanFailed("ScanCutShort", "the answer of the Spark ends before its end mark")
    whole = rest[: rest.index(end_mark(nonce)) + len(end_mark(nonce))]
    return sections(mark + whole, nonce), noise

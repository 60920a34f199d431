"""The few scripts that run inside containers.

Each is a constant: everything that differs comes as an argument ("$1", "$@"), so that no value can become code and
the program's argv stays an argv. Their names (`$0`) begin with `sparkkeep-`, which is also how they sign their lines
in the container's log.
"""

from __future__ import annotations

from typing import Final

SIGNED: Final = "sparkkeep-"
END: Final = "--"  # ends the list of mods

# What people's mods expect: they run in their own folder, and WORKSPACE_DIR is the folder the server will start in.
# A container that ended is started again with the files that it has: what patched them once would fail the next time.
MODS: Final = """\
WORKSPACE_DIR=$PWD
export WORKSPACE_DIR
while [ "$1" != -- ]; do
  if [ -e "$1.done" ]; then
    echo "sparkkeep-mods: $1 was run at an earlier start" >&2
  else
    echo "sparkkeep-mods: $1" >&2
    if [ -x "$1/run.sh" ]; then (cd "$1" && ./run.sh); else (cd "$1" && bash ./run.sh); fi || {
      echo "sparkkeep-mods: $1/run.sh failed with status $?: nothing is started" >&2
      exit 1
    }
    touch "$1.done" || echo "sparkkeep-mods: it will be run again at the next start" >&2
  fi
  shift
done
shift
exec "$@"
"""

# $1 the options, $2 the file that they go to; the rest is the program.
OPTIONS: Final = """\
printf '%s\\n' "$1" > "$2" || exit 1
shift 2
exec "$@"
"""

# A driver of Ray that only counts: $1 is how many Sparks must be there, $2 how many seconds they may take.
_COUNT: Final = """\
import sys, time, ray
ray.init(address="auto", logging_level="ERROR")
size, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
while (here := sum(node["Alive"] for node in ray.nodes())) < size:
    if time.monotonic() > end:
        sys.exit(f"sparkkeep-ray: {here} of {size} Sparks have joined after {sys.argv[2]} s: giving up")
    time.sleep(1)
"""

# $1 variables that stay on their Spark, $2 Sparks, $3 seconds to wait, $4 port, $5 own address; then the server.
# vLLM copies the head's variables to the workers, and with them the head's network interface: the file forbids that.
RAY_HEAD: Final = f"""\
mkdir -p "$VLLM_CONFIG_ROOT" || exit 1
printf '%s\\n' "$1" > "$VLLM_CONFIG_ROOT/ray_non_carry_over_env_vars.json" || exit 1
ray start --head --port "$4" --node-ip-address "$5" --object-store-memory 1073741824 --num-cpus 2 \\
  --include-dashboard=false --disable-usage-stats || exit 1
python3 -c '{_COUNT}' "$2" "$3" || exit 1
shift 5
exec "$@"
"""

# A worker may be up long before its head, and `ray start` is not patient: $1 address, $2 port, $3 seconds to wait.
_REACH: Final = """\
import socket, sys, time
end = time.monotonic() + float(sys.argv[3])
while True:
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
        break
    except OSError as error:
        if time.monotonic() > end:
            sys.exit(f"sparkkeep-ray: no head at {sys.argv[1]}:{sys.argv[2]} after {sys.argv[3]} s: {error}")
        time.sleep(1)
"""

# $1 seconds to wait, $2 the head's address, $3 its port, $4 both as Ray writes them, $5 own address.
RAY_WORKER: Final = f"""\
python3 -c '{_REACH}' "$2" "$3" "$1" || exit 1
exec ray start --block --address "$4" --node-ip-address "$5" --object-store-memory 1073741824 --num-cpus 2 \\
  --disable-usage-stats
"""


def run(script: str, name: str, *arguments: str) -> tuple[str, ...]:
    """The argv of a script."""
    return ("sh", "-c", script, f"{SIGNED}{name}", *arguments)

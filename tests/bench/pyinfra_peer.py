"""pyinfra at its best, run by a virtual environment of its own: connected once, then one parallel round per input line.

    python pyinfra_peer.py KEY KNOWN_HOSTS ADDRESS...

Each line on standard input is a number of hosts; the answer is the seconds that `docker ps` on all of them took.
"""

import sys
import time

import gevent
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all


def main() -> None:
    key, known_hosts, *addresses = sys.argv[1:]
    data = {
        "ssh_user": "root",
        "ssh_key": key,
        "ssh_known_hosts_file": known_hosts,
        "ssh_strict_host_key_checking": "yes",
    }
    state = State(Inventory((addresses, data)), Config(PARALLEL=len(addresses)))
    connect_all(state)
    hosts = [state.inventory.get_host(address) for address in addresses]
    for line in sys.stdin:
        began = time.perf_counter()
        jobs = [gevent.spawn(host.run_shell_command, "docker ps", print_output=False) for host in hosts[: int(line)]]
        gevent.joinall(jobs, raise_error=True)
        assert all(job.value[0] for job in jobs)
        sys.stdout.write(f"{time.perf_counter() - began}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""An image of nothing that runs this machine's programs."""

from pathlib import Path

from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.images import archive, borrowed

READ = "import os; print(os.path.isdir('/opt/keep/bin'), os.access('/usr', os.W_OK), os.access('/tmp', os.W_OK))"


def test_it_runs_the_hosts_programs_and_may_not_change_them(fleet: Fleet, hosts: list[Host], tmp_path: Path) -> None:
    made = borrowed("keep/borrowed:1", ("python3", "-c"), {"PATH": "/usr/bin"}, [Path("/opt/keep")])
    (tmp_path / "image.tar").write_bytes(archive([made]))
    hosts[0].load_archive(tmp_path / "image.tar")
    assert hosts[0].docker("run", "--rm", "--network", "none", made.name, READ) == "True False True\n"
    plain = hosts[0].docker("run", "--rm", "--network", "none", "--entrypoint", "/bin/ls", "keep/echo:1", "/")
    assert "usr" not in plain.split()
    assert hosts[0].docker("rmi", made.name)

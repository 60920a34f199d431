"""The programs of a practice Spark that deliveries and logins need, held against the real ones where there are any."""

import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.practice.memory import MemoryConnection
from reconciler.practice.spark import Settings, Spark
from reconciler.shell import with_login

MOVES = (  # after `cd` into an empty folder
    "mkdir -p a/b new && echo one > a/b/f && chmod 755 a/b/f && mv -T -- a new && cat new/b/f && stat -c %a new/b/f; ls",
    "mkdir -p a new/full && mv -T -- a new 2>/dev/null; echo $?; ls",
    "echo one > f && echo two > g && mv -T -- f g && cat g; ls",
    "mv -T -- nothing new 2>/dev/null; echo $?; ls",
    "mkdir a && mv -T -- a gone/new 2>/dev/null; echo $?; ls",
    "mkdir a && chmod a+rwx -- a && stat -c %a a; chmod 700 nothing 2>/dev/null; echo $?",
    "d=$(mktemp -d ./keep-XXXXXXXX) && stat -c %a $d && rm -rf $d; ls",
)


@pytest.fixture
def spark() -> Spark:
    return Spark("spark-1", settings=Settings(pull_seconds=0.0))


@pytest.mark.parametrize("script", MOVES)
@pytest.mark.skipif(shutil.which("dash") is None, reason="needs dash")
async def test_they_do_what_the_real_ones_do(script: str, spark: Spark, tmp_path: Path) -> None:
    real = subprocess.run(["dash", "-c", script], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=9)
    played = await MemoryConnection(spark).run(f"mkdir -p /tmp/empty && cd /tmp/empty && {script}")
    assert (played.stdout, played.status) == (real.stdout, real.returncode)


async def test_a_registry_that_wants_a_login(spark: Spark) -> None:
    connection = MemoryConnection(spark)
    image = "nvcr.io/nim/meta/llama:1"
    spark.faults.registry_wants("nvcr.io", "$oauthtoken", "key")
    denied = await connection.run(f"docker pull {image}")
    assert (denied.status, spark.faults.counts["login_missing"]) == (1, 1)
    assert "unauthorized: authentication required" in denied.stderr
    wrong = await connection.run(with_login("nvcr.io", "$oauthtoken", "other", ("docker", "pull", image)))
    assert wrong.status == 1
    done = await connection.run(with_login("nvcr.io", "$oauthtoken", "key", ("docker", "pull", image)))
    assert done.status == 0
    assert (await connection.run("ls /dev/shm")).stdout == ""
    assert (await connection.run(f"docker rmi {image} && docker pull {image}")).status == 1

"""What lies in the weights' cache of a host, as the host's own `find` and `sha256sum` say; and the room on its disk."""

import asyncio
import hashlib
from collections.abc import Sequence

from reconciler.weights.cache import PART, folder_of
from tests.hosts.host import Host
from tests.unit.reconciler.weights.hub import COMMIT, REPO, Blob
from tests.unit.reconciler.weights.stage import MIB

CACHE = "/root/.cache/huggingface"
BUFFER = 16_384  # bytes that came and that curl may not have written yet


def resize(host: Host, size: str) -> None:
    """Another size for the disk under a host's cache, such as 16m. What lies there stays."""
    host.run(["mount", "-o", f"remount,size={size}", CACHE])


def sums(host: Host, folder: str) -> dict[str, str]:
    """The SHA-256 of every file below a folder of the cache, as the host's own tool says; links are followed.

    Of those that bear their whole name: unfinished ones may go while this looks.
    """
    find = 'cd "$1" 2>/dev/null || exit 0; find -L . -type f ! -name "*.incomplete" -exec sha256sum -z {} +'
    said = host.run(["sh", "-c", find, "sh", f"{CACHE}/hub/{folder}"])
    pairs = (record.split("  ./", 1) for record in said.split("\0") if record)
    return {path: digest for digest, path in pairs}


def tree(host: Host, folder: str = "") -> dict[str, str]:
    """What lies below a folder of the cache: `file SIZE`, `link TARGET` or `folder`, by path."""
    kinds = {"f": "file", "l": "link", "d": "folder"}
    find = 'cd "$1" 2>/dev/null || exit 0; find . -mindepth 1 -printf "%y %s %l\\t%P\\0"'
    found = {}
    for record in host.run(["sh", "-c", find, "sh", f"{CACHE}/hub/{folder}"]).split("\0")[:-1]:
        about, _, path = record.partition("\t")
        kind, size, target = about.split(" ", 2)
        found[path] = f"{kinds[kind]} {target or size}" if kind in "fl" else kinds[kind]
    return found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def check_whole(
    host: Host, files: Sequence[Blob], name: str = REPO, *, commit: str = COMMIT, ref: str = "main"
) -> None:
    """Each path leads to its blob by a relative link, the bytes are right, the name leads there; nothing is left over."""
    folder = folder_of(name)
    assert sums(host, f"{folder}/snapshots/{commit}") == {file.path: sha256(file.data) for file in files}
    lying = tree(host, folder)
    for file in files:
        up = "../" * (2 + file.path.count("/"))
        assert lying[f"snapshots/{commit}/{file.path}"] == f"link {up}blobs/{file.etag}"
    assert host.run(["cat", f"{CACHE}/hub/{folder}/refs/{ref}"]) == commit
    assert not [path for path in lying if path.endswith(".incomplete")]
    check_blobs(host, files, name)


def check_blobs(host: Host, files: Sequence[Blob], name: str = REPO) -> set[str]:
    """What bears the name of a hash has these bytes, whatever else has gone wrong. The paths that are there."""
    found = sums(host, f"{folder_of(name)}/blobs")
    right = {file.etag: sha256(file.data) for file in files}
    assert found.items() <= right.items()
    return {file.path for file in files if file.etag in found}


def check_nothing_is_named(host: Host, name: str = REPO) -> None:
    """No path and no branch leads to anything."""
    lying = tree(host, folder_of(name))
    assert not [path for path, what in lying.items() if path.startswith(("snapshots/", "refs/")) and what != "folder"]


def part_of(host: Host, file: Blob, name: str = REPO) -> int | None:
    """The bytes that came of a file that is not whole; None for nothing."""
    what = tree(host, folder_of(name)).get(f"blobs/{file.etag}{PART}")
    return int(what.removeprefix("file ")) if what else None


async def came(host: Host, file: Blob) -> None:
    """Wait until what was sent of a file that is held after 1 MiB lies on the disk."""
    async with asyncio.timeout(30):
        while (part_of(host, file) or 0) < MIB - BUFFER:
            await asyncio.sleep(0.02)


def free(host: Host) -> int:
    return 1024 * int(host.run(["df", "-k", "--output=avail", CACHE]).split()[-1])


def fill(host: Host, leaving: int = 0) -> None:
    """Somebody else's file takes the room."""
    host.run(["sh", "-c", 'head -c "$2" /dev/zero >"$1"', "sh", f"{CACHE}/other", str(free(host) - leaving)])


def make_room(host: Host) -> None:
    host.run(["rm", f"{CACHE}/other"])

"""The pretend Spark's file system: folders, links, small files, and large ones that are only claimed; in memory."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeVar

from reconciler.practice.locks import FileLock

T = TypeVar("T")
HOME: Final = "/home/practice"
FOLDERS: Final = (
    "/ /bin /boot /dev /dev/infiniband /dev/shm /etc /home /mnt /opt /proc /root /run /run/lock /srv /sys /tmp /usr "
    "/var /var/lib /var/log /var/run"
)
MOST_LINKS: Final = 40  # as many as Linux follows
OPEN_TO_ALL: Final = ("/dev/shm", "/run/lock", "/tmp")  # noqa: S108 - pretend
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/fuse", "/dev/nvidia0", "/dev/nvidiactl", "/dev/infiniband/uverbs0")


@dataclass(slots=True)
class Files:
    """Paths are absolute and normal; `normal` makes them so, `real` follows links.

    `links` holds what each symbolic link says, `sizes` the bytes that a file claims to have beyond its content, and
    `changed` the Unix seconds of its last change where they matter.
    """

    FILE: ClassVar[int] = 0o100000
    FOLDER: ClassVar[int] = 0o040000
    LINK: ClassVar[int] = 0o120000

    content: dict[str, bytes] = field(default_factory=lambda: dict.fromkeys(DEVICES, b""))
    folders: set[str] = field(default_factory=lambda: {*FOLDERS.split(), HOME})
    modes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OPEN_TO_ALL, 0o1777))
    home: str = HOME
    live: dict[str, Callable[[], str]] = field(default_factory=dict)  # files of /proc, made when they are read
    ever: list[tuple[str, int]] = field(default_factory=list)  # path and mode of every file that was written
    links: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)
    locks: dict[str, FileLock] = field(default_factory=dict)

    def normal(self, path: str, folder: str = "") -> str:
        """An absolute, normal path; what is relative starts in `folder`, or at home."""
        return posixpath.normpath(posixpath.join(folder or self.home, path))

    def real(self, path: str, *, last: bool = True) -> str:
        """Where a path leads; with `last` false its last part is not followed. Raises OSError for what is not there."""
        for _ in range(MOST_LINKS):
            if not self.links:
                break
            parts = path.strip("/").split("/")
            ways = ["/" + "/".join(parts[:at]) for at in range(1, len(parts) + (1 if last else 0))]
            link = next((way for way in ways if way in self.links), None)
            if link is None:
                break
            target = posixpath.join(posixpath.dirname(link), self.links[link])
            path = posixpath.normpath(target + path[len(link) :])
        else:
            raise OSError(40, "Too many levels of symbolic links")
        if not (path in self.content or path in self.folders or path in self.live or path in self.links):
            raise FileNotFoundError(2, "No such file or directory")
        return path

    def stat(self, path: str) -> tuple[int, int, float]:
        """Kind, size in bytes and last change of what is at a path, not following links. Raises OSError."""
        changed = self.changed.get(path, 0.0)
        if path in self.links:
            return self.LINK, len(self.links[path]), changed
        if path in self.folders:
            return self.FOLDER, 4096, changed
        return self.FILE, self.sizes.get(path) or len(self.read(path)), changed

    def tree(self) -> dict[str, list[str]]:
        """The names in every folder, in order."""
        below: dict[str, list[str]] = {}
        for path in sorted({*self.content, *self.folders, *self.links, *self.live} - {"/"}):
            below.setdefault(posixpath.dirname(path), []).append(posixpath.basename(path))
        return below

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder, links followed."""
        try:
            self.real(path)
        except OSError:
            return False
        return True

    def make_folder(self, path: str) -> None:
        """With all its parents. Raises FileExistsError if one of them is a file."""
        while path not in self.folders:
            if path in self.content:
                raise FileExistsError(path)
            self.folders.add(path)
            path = posixpath.dirname(path)

    def write(self, path: str, data: bytes, *, mode: int, append: bool = False) -> None:
        """Raises OSError where a real shell would complain."""
        if path in DEVICES:
            return
        if path in self.folders:
            raise IsADirectoryError(21, "Is a directory")
        if posixpath.dirname(path) not in self.folders:
            raise FileNotFoundError(2, "Directory nonexistent")
        if path.startswith(("/proc/", "/sys/", "/etc/")):
            raise PermissionError(13, "Permission denied")
        if path not in self.content:
            self.modes[path] = mode
            self.ever.append((path, mode))
        self.content[path] = (self.content.get(path, b"") if append else b"") + data

    def read(self, path: str) -> bytes:
        """Raises OSError if there is no such file."""
        path = self.real(path)
        if path in self.folders:
            raise IsADirectoryError(21, "Is a directory")
        if path in self.live:
            return self.live[path]().encode()
        return self.content[path]

    def remove(self, path: str) -> None:
        """Raises OSError if it can't be removed."""
        if path in self.folders:
            raise IsADirectoryError(21, "Is a directory")
        if self.links.pop(path, None) is None and self.content.pop(path, None) is None:
            raise FileNotFoundError(2, "No such file or directory")
        for kept in (self.modes, self.sizes, self.changed):
            kept.pop(path, None)

    def remove_folder(self, path: str) -> None:
        """With everything in it."""
        under = f"{path}/"
        self.folders = {folder for folder in self.folders if folder != path and not folder.startswith(under)}
        for name in [name for name in (*self.content, *self.links) if name.startswith(under)]:
            self.remove(name)

    def rename(self, old: str, new: str) -> None:
        """Give a file or folder, with everything in it, another path. Raises OSError where a kernel would."""
        if posixpath.dirname(new) not in self.folders or not self.exists(old):
            raise FileNotFoundError(2, "No such file or directory")
        if new in self.folders and self.names(new):
            raise OSError(39, "Directory not empty")
        if (new in self.folders) != (old in self.folders) and self.exists(new):
            raise NotADirectoryError(20, "Not a directory")
        _move(self.content, old, new)
        _move(self.modes, old, new)
        _move(self.links, old, new)
        _move(self.sizes, old, new)
        _move(self.changed, old, new)
        moved = dict.fromkeys(self.folders)
        _move(moved, old, new)
        self.folders = set(moved)

    def names(self, path: str) -> list[str]:
        """What is in a folder, by name."""
        everything = self.folders | self.content.keys() | self.live.keys() | self.links.keys()
        return sorted({posixpath.basename(name) for name in everything if posixpath.dirname(name) == path} - {""})

    def reboot(self) -> None:
        """What lives in /tmp, /run and /dev/shm does not survive."""
        gone = ("/tmp/", "/run/", "/dev/shm/")  # noqa: S108 - pretend
        for path in [path for path in self.content if path.startswith(gone)]:
            del self.content[path]


def _move(kept: dict[str, T], old: str, new: str) -> None:
    """What is kept of a path and of all below it is kept of the new one."""
    for path in [path for path in kept if path == old or path.startswith(f"{old}/")]:
        kept[new + path[len(old) :]] = kept.pop(path)

"""The pretend Spark's file system: folders and small files, in memory only."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

HOME: Final = "/home/practice"
FOLDERS: Final = (
    "/ /bin /boot /dev /dev/infiniband /dev/shm /etc /home /mnt /opt /proc /root /run /srv /sys /tmp /usr /var "
    "/var/lib /var/log /var/run"
)
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/fuse", "/dev/nvidia0", "/dev/nvidiactl", "/dev/infiniband/uverbs0")


@dataclass(slots=True)
class Files:
    """Paths are absolute and normal; `normal` makes them so."""

    content: dict[str, bytes] = field(default_factory=lambda: dict.fromkeys(DEVICES, b""))
    folders: set[str] = field(default_factory=lambda: {*FOLDERS.split(), HOME})
    modes: dict[str, int] = field(default_factory=dict)
    home: str = HOME
    live: dict[str, Callable[[], str]] = field(default_factory=dict)  # files of /proc, made when they are read
    ever: list[tuple[str, int]] = field(default_factory=list)  # path and mode of every file that was written

    def normal(self, path: str, folder: str = "") -> str:
        """An absolute, normal path; what is relative starts in `folder`, or at home."""
        return posixpath.normpath(posixpath.join(folder or self.home, path))

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return path in self.content or path in self.folders or path in self.live

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
        if path in self.folders:
            raise IsADirectoryError(21, "Is a directory")
        if path in self.live:
            return self.live[path]().encode()
        if path not in self.content:
            raise FileNotFoundError(2, "No such file or directory")
        return self.content[path]

    def remove(self, path: str) -> None:
        """Raises OSError if it can't be removed."""
        if path in self.folders:
            raise IsADirectoryError(21, "Is a directory")
        if self.content.pop(path, None) is None:
            raise FileNotFoundError(2, "No such file or directory")
        self.modes.pop(path, None)

    def remove_folder(self, path: str) -> None:
        """With everything in it."""
        under = f"{path}/"
        self.folders = {folder for folder in self.folders if folder != path and not folder.startswith(under)}
        for name in [name for name in self.content if name.startswith(under)]:
            self.remove(name)

    def names(self, path: str) -> list[str]:
        """What is in a folder, by name."""
        everything = self.folders | self.content.keys() | self.live.keys()
        return sorted({posixpath.basename(name) for name in everything if posixpath.dirname(name) == path} - {""})

    def reboot(self) -> None:
        """What lives in /tmp and /run does not survive."""
        for path in [path for path in self.content if path.startswith(("/tmp/", "/run/"))]:  # noqa: S108 - pretend
            del self.content[path]

"""Test images made from nothing: Debian's static busybox and one small C program.

Each is a docker archive written by hand, the same bytes every time, so image ids never change.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hosts import tools

if TYPE_CHECKING:
    from tests.hosts.fleet import Fleet

NAMES = ("keep/echo:1", "keep/echo:2", "keep/argv:1")
_APPLETS = ("sh", "cat", "echo", "env", "false", "head", "kill", "ls", "mkdir", "ps", "sleep", "touch", "true", "wget")
_FILES = {"etc/passwd": b"root:x:0:0:root:/:/bin/sh\n", "etc/group": b"root:x:0:\n"}


@dataclass(frozen=True)
class Image:
    """One image: its name, its configuration (whose hash is its id) and its only layer, a tar."""

    name: str
    config: bytes
    layer: bytes

    @property
    def id(self) -> str:
        """Return the id Docker gives it."""
        return digest(self.config)

    def packed_layer(self) -> bytes:
        """Return the layer as a registry holds it."""
        return gzip.compress(self.layer, compresslevel=1, mtime=0)


def digest(content: bytes) -> str:
    """Return the sha256 as registries and Docker write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def archive(made: list[Image]) -> bytes:
    """Return what `docker load` reads; images that share a layer share its bytes."""
    files: dict[str, bytes] = {}
    manifest = []
    for image in made:
        config, layer = f"{image.id[7:]}.json", f"{digest(image.layer)[7:]}.tar"
        files[config], files[layer] = image.config, image.layer
        manifest.append({"Config": config, "RepoTags": [image.name], "Layers": [layer]})
    files["manifest.json"] = json.dumps(manifest).encode()
    return _tar([_file(name, content, 0o644) for name, content in files.items()])


def build(folder: Path) -> list[Image]:
    """Compile the program and return every test image; the archives are in `folder` afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "keep-server"
    tools.compile_static(tools.HERE / "server.c", program)
    layer = _layer(program.read_bytes())
    made = [Image(name, _config(name, layer), layer) for name in NAMES]
    for image in made:
        archive_path(folder, image.name).write_bytes(archive([image]))
    archive_path(folder, "all").write_bytes(archive(made))
    return made


def borrowed(name: str, entrypoint: Sequence[str], env: Mapping[str, str], folders: Sequence[Path]) -> Image:
    """An image of nothing whose programs are the host's own: /usr and `folders`, which `keep-runc` mounts into it."""
    links = [_link(part, f"usr/{part}") for part in ("bin", "sbin", "lib", "lib64") if Path("/", part).is_symlink()]
    inside = [_folder(part, mode) for part, mode in (("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("usr", 0o755))]
    layer = _tar([*inside, *(_file(path, content, 0o644) for path, content in _FILES.items()), *links])
    shared = ":".join(map(str, ["/usr", *folders]))
    variables = [f"{key}={value}" for key, value in {**env, "KEEP_FOLDERS": shared}.items()]
    return Image(
        name, _written(name, {"Entrypoint": list(entrypoint), "WorkingDir": "/", "Env": variables}, layer), layer
    )


def archive_path(folder: Path, name: str) -> Path:
    """Return where `build` puts the archive of an image."""
    return folder / f"{name.replace('/', '-').replace(':', '-')}.tar"


def load_all(fleet: "Fleet") -> list[Image]:
    """Build the images and give them to every host of a fleet."""
    made = build(fleet.images)
    fleet.each(lambda host: host.load_image("all"))
    return made


def _config(name: str, layer: bytes) -> bytes:
    repository, tag = name.split(":")
    program = "/bin/keep-argv" if repository == "keep/argv" else "/bin/keep-server"
    config = {
        "Entrypoint": [program],
        "WorkingDir": "/",
        "Env": ["PATH=/bin", f"KEEP_VERSION={tag}"],
        "Labels": {"keep.version": tag},
    }
    return _written(name, config, layer)


def _written(name: str, config: Mapping[str, object], layer: bytes) -> bytes:
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": name}],
        },
        sort_keys=True,
    ).encode()


def _layer(program: bytes) -> bytes:
    busybox = Path(tools.program("busybox")).read_bytes()
    folders = [_folder(name, mode) for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777))]
    files = [_file(name, content, 0o644) for name, content in _FILES.items()]
    programs = [_file("bin/busybox", busybox, 0o755), _file("bin/keep-server", program, 0o755)]
    links = [_link("bin/keep-argv", "keep-server"), *(_link(f"bin/{name}", "busybox") for name in _APPLETS)]
    return _tar([*folders, *files, *programs, *links])


def _tar(entries: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for about, content in entries:
            tar.addfile(about, io.BytesIO(content))
    return out.getvalue()


def _file(name: str, content: bytes, mode: int) -> tuple[tarfile.TarInfo, bytes]:
    about = tarfile.TarInfo(name)
    about.size, about.mode = len(content), mode
    return about, content


def _folder(name: str, mode: int) -> tuple[tarfile.TarInfo, bytes]:
    about = tarfile.TarInfo(name)
    about.type, about.mode = tarfile.DIRTYPE, mode
    return about, b""


def _link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    about = tarfile.TarInfo(name)
    about.type, about.linkname, about.mode = tarfile.SYMTYPE, target, 0o777
    return about, b""

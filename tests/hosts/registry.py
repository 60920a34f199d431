"""A registry with the test images, for one fleet: Debian's docker-registry on the bridge's address.

The store is written by hand before it starts, so nothing has to be pushed.
"""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.hosts import group, tools
from tests.hosts.fleet import Fleet
from tests.hosts.images import Image, build, digest
from tests.hosts.shell import wait_for

PORT = 5000
_V2 = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry:
    """A running registry; make it with `Registry.up`."""

    def __init__(self, fleet: Fleet) -> None:
        self.host = f"{fleet.gateway}:{PORT}"
        self._address = fleet.gateway
        self._group = f"{fleet.name}/registry"
        self._folder = fleet.base / "registry"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def up(cls, fleet: Fleet, made: list[Image] | None = None) -> Iterator["Registry"]:
        """Serve the images (the test images, if not named) to the fleet's hosts."""
        registry = cls(fleet)
        for image in made if made is not None else build(fleet.images):
            registry.add(image)
        try:
            registry.start()
            yield registry
        finally:
            registry.stop()
            shutil.rmtree(registry._folder, ignore_errors=True)

    def reference(self, name: str) -> str:
        """Return the name a host pulls an image by: keep/echo:2 becomes ADDRESS:5000/keep/echo:2."""
        return f"{self.host}/{name}"

    def add(self, image: Image, name: str | None = None) -> str:
        """Write an image into the store, under `name` if given, also while serving; return its digest."""
        repository, tag = (name or image.name).rsplit(":", 1)
        packed = image.packed_layer()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _V2,
                "config": {"mediaType": _CONFIG, "size": len(image.config), "digest": image.id},
                "layers": [{"mediaType": _LAYER, "size": len(packed), "digest": digest(packed)}],
            }
        ).encode()
        home = self._store / "repositories" / repository
        for content in (image.config, packed):
            self._blob(content)
            _link(home / "_layers", content)
        self._blob(manifest)
        _link(home / "_manifests/revisions", manifest)
        _link(home / "_manifests/tags" / tag / "index", manifest)
        current = home / "_manifests/tags" / tag / "current"
        current.mkdir(parents=True, exist_ok=True)
        (current / "link").write_text(digest(manifest))
        return digest(manifest)

    def start(self) -> None:
        """Start serving, and wait for it; does nothing if it serves."""
        if self._process:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "config.yml"
        config.write_text(
            json.dumps(
                {  # JSON is YAML
                    "version": 0.1,
                    "log": {"level": "warn", "accesslog": {"disabled": True}},
                    "storage": {"filesystem": {"rootdirectory": str(self._folder)}},
                    "http": {"addr": self.host},
                }
            )
        )
        group.create(self._group)
        with (self._folder / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", str(tools.HERE / "host-join.sh"), self._group, "docker-registry", "serve", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"},
            )
        wait_for(self._answers, "the registry to listen")

    def stop(self) -> None:
        """Stop serving: pulls then fail as they do when a registry is down."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def _store(self) -> Path:
        return self._folder / "docker/registry/v2"

    def _blob(self, content: bytes) -> None:
        name = digest(content)[7:]
        folder = self._store / "blobs/sha256" / name[:2] / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").write_bytes(content)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((self._address, PORT), timeout=1):
            return True
        return False


def _link(folder: Path, content: bytes) -> None:
    place = folder / "sha256" / digest(content)[7:]
    place.mkdir(parents=True, exist_ok=True)
    (place / "link").write_text(digest(content))

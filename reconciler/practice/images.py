"""Images on the Spark, and the pretend registries they come from.

Every registry has every image, except those a fault hides and tags that say so (`:missing`). A pull takes
time and disk; its errors are the texts of Docker 20.10 to 28.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from reconciler.practice.clock import digest
from reconciler.practice.containers import ImageConfig
from reconciler.practice.errors import DaemonError
from reconciler.practice.events import Events
from reconciler.practice.machine import GIB, Machine

HUB: Final = "docker.io"
ID: Final = "sha256:"
REFERENCE: Final = re.compile(
    r"(?P<name>(?:(?:[A-Za-z0-9][A-Za-z0-9.-]*)(?::\d+)?/)?[a-z0-9]+(?:(?:\.|_{1,2}|-+|/)[a-z0-9]+)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Reference:
    """An image's name, as a person writes it: `name[:tag][@digest]`."""

    name: str
    tag: str
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @property
    def registry(self) -> str:
        """The host it comes from."""
        first, slash, _ = self.name.partition("/")
        return first if slash and (first == "localhost" or "." in first or ":" in first) else HUB

    @property
    def path(self) -> str:
        """The repository as its registry calls it."""
        if self.registry != HUB or self.name.startswith(f"{HUB}/"):
            return self.name.partition("/")[2]
        return self.name if "/" in self.name else f"library/{self.name}"


def parse_reference(text: str) -> Reference:
    """Raises ValueError with the words of the docker CLI."""
    if re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    match = REFERENCE.fullmatch(text)
    if match is None:
        name = text.partition(":")[0]
        if name != name.lower() and "/" not in name:
            raise ValueError(f"invalid reference format: repository name (library/{name}) must be lowercase")
        raise ValueError("invalid reference format")
    return Reference(match["name"], match["tag"] or "latest", match["digest"] or "")


@dataclass(slots=True)
class Image:
    """What `docker images` shows one or more lines of."""

    id: str
    size: int
    created: int  # nanoseconds
    tags: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)
    config: ImageConfig = field(default_factory=ImageConfig)


class Images:
    """The images of one engine."""

    def __init__(self, machine: Machine, events: Events, *, pull_seconds: float = 1.0) -> None:
        self._machine = machine
        self._events = events
        self.pull_seconds = pull_seconds
        self.all: dict[str, Image] = {}
        self.known: dict[str, ImageConfig] = {}  # what is in images that are named `repository:tag` in any registry

    def find(self, text: str) -> Image | None:
        """By tag, digest, id, or the start of an id."""
        bare = text.removeprefix(ID)
        for image in self.all.values():
            if text in image.tags or text in image.digests or image.id == text:
                return image
            if re.fullmatch(r"[0-9a-f]{4,64}", bare) and image.id.removeprefix(ID).startswith(bare):
                return image
        try:
            reference = str(parse_reference(text))
        except ValueError:
            return None
        short = reference.removeprefix(f"{HUB}/library/").removeprefix(f"{HUB}/")
        return next((i for i in self.all.values() if {reference, short} & (i.tags | i.digests)), None)

    def add(self, text: str, *, content: str = "", size: int | None = None) -> Image:
        """An image under a tag or digest; another content under the same tag takes the tag away from the old one."""
        reference = parse_reference(text)
        same = f"{reference.path.removeprefix('library/')}:{reference.tag}"
        content = content or (same if same in self.known else str(reference))
        identity = ID + digest(f"image {content}")
        if identity not in self.all:
            bulk = size if size is not None else (1 + int(digest(content)[:2], 16) % 18) * GIB
            config = self.known.get(same, ImageConfig())
            self.all[identity] = Image(identity, bulk, self._machine.clock.nanos(), config=config)
        image = self.all[identity]
        if not reference.digest:
            for other in self.all.values():
                other.tags.discard(str(reference))
            image.tags.add(str(reference))
        image.digests.add(f"{reference.name}@{reference.digest or ID + digest(f'manifest {content}')}")
        return image

    def remove(self, text: str) -> None:
        """Untag, and forget what has no tag left. Raises DaemonError if it isn't there."""
        image = self.find(text)
        if image is None:
            raise DaemonError(404, f"No such image: {parse_reference(text)}")
        image.tags.discard(str(parse_reference(text)))
        if not image.tags or image.id == text:
            del self.all[image.id]
            self._machine.disk_used -= image.size
            self._events.tell("image", "delete", image.id, {"name": image.id})

    async def pull(self, text: str, progress: Progress) -> Image:
        """Fetch an image. `progress` gets the lines a person sees. Raises DaemonError."""
        reference = parse_reference(text)
        self._refuse(reference)
        progress(f"{reference.digest or reference.tag}: Pulling from {reference.path}")
        had = self.find(text)
        layer = digest(f"layer {reference}")[:12]
        if had is None:
            progress(f"{layer}: Pulling fs layer")
            if self._machine.switches.pull_stalled:
                self._machine.switches.count("pull_stalls")
                await self._machine.switches.stall()
            await asyncio.sleep(self.pull_seconds)
            self._refuse(reference)
            progress(f"{layer}: Download complete")
            bulk = (1 + int(digest(str(reference))[:2], 16) % 18) * GIB
            if not self._machine.write_disk(bulk):
                raise DaemonError(
                    500, "failed to register layer: write /usr/lib/libcublasLt.so.13: no space left on device"
                )
            progress(f"{layer}: Pull complete")
        image = self.add(text)
        progress(f"Digest: {next(iter(image.digests)).partition('@')[2]}")
        progress(f"Status: {'Image is up to date' if had else 'Downloaded newer image'} for {reference}")
        progress(str(reference) if reference.registry != HUB else f"{HUB}/{reference.path}:{reference.tag}")
        self._events.tell("image", "pull", str(reference), {"name": reference.name})
        return image

    def _refuse(self, reference: Reference) -> None:
        """The registry's errors. `unauthorized` and `manifest unknown` are its words, the rest is Docker's."""
        switches = self._machine.switches
        if switches.pull_error == "network":
            switches.count("pull_fails")
            host = "registry-1.docker.io" if reference.registry == HUB else reference.registry
            raise DaemonError(
                500,
                f'Get "https://{host}/v2/": dial tcp: lookup {host} on 127.0.0.53:53: '
                "read udp 127.0.0.1:41063->127.0.0.53:53: i/o timeout",
            )
        if switches.pull_error == "unauthorized":
            switches.count("pull_fails")
            if reference.registry == HUB:
                raise DaemonError(
                    404,
                    f"pull access denied for {reference.name}, repository does not exist or may require "
                    "'docker login': denied: requested access to the resource is denied",
                )
            url = f"https://{reference.registry}/v2/{reference.path}/manifests/{reference.tag}"
            raise DaemonError(500, f'Head "{url}": unauthorized: authentication required')
        if reference.tag == "missing" or {str(reference), reference.name} & switches.missing_images:
            switches.count("image_missing")
            if reference.registry == HUB:
                raise DaemonError(404, f"manifest for {reference} not found: manifest unknown: manifest unknown")
            raise DaemonError(404, "manifest unknown")

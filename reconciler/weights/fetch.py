"""Makes a revision whole on a Spark: asks the hub what there is, looks what is there, and fetches the rest.

Everything is asked and done by the Spark itself; sparkkeep sends scripts over a `Host` and reads their lines. A peer
that has the files is tried before the hub; whatever it can't give comes from the hub. Nothing here raises for what a
Spark, a network or a hub can do: `Fetched.why` says it, and whether trying again can help.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final, cast
from urllib.parse import urljoin, urlsplit

from reconciler.explain import Explanation
from reconciler.hosts import Host
from reconciler.linkdown import LinkDown
from reconciler.weights import cache, failures, repo_files
from reconciler.weights.cache import Completeness, Found, LookFailed, Want
from reconciler.weights.download import Pace, Source, download
from reconciler.weights.endpoint import SourceRefused, ask, check_endpoint, check_token, origin_of, read_reply
from reconciler.weights.failures import Refusal, refusal
from reconciler.weights.peer import Peer, PeerRefused, serving
from reconciler.weights.progress import Progress
from reconciler.weights.repo_files import Listing, ListingRefused, RepoFile
from reconciler.weights.selection import SelectionRefused, select
from reconciler.weights.tally import Tally, unwritable

HUB: Final = "https://huggingface.co"
MARGIN: Final = 8 * 2**30  # bytes of the disk that a fetch leaves free
LOOK_TIMEOUT: Final = 60.0  # seconds
ASK_TIMEOUT: Final = 75.0
SILENCE: Final = 60.0  # seconds without a line after which the program counts as lost
HOPS: Final = 5
MAX_PAGES: Final = 50


@dataclass(frozen=True, slots=True)
class Fetched:
    """How a fetch ended. `why` is None when the revision is whole. Sizes in bytes.

    `notes` tell in words what did not go as planned (a peer that could not serve); `retry_after`: seconds that the hub
    asked for; `came`: what was fetched now, from `source` last; `listing`: what the hub has, to be `known` next time.
    """

    why: Explanation | None
    commit: str = ""
    total: int = 0
    came: int = 0
    source: str = ""
    notes: tuple[str, ...] = ()
    retry_after: float = 0.0
    listing: Listing | None = None


class Refused(Exception):
    """A step of a fetch did not succeed."""

    def __init__(self, refused: Refusal) -> None:
        super().__init__(refused.why.message)
        self.refused = refused


def _refused(reason: str, message: str, *, terminal: bool = False) -> Refused:
    return Refused(refusal(reason, message, terminal=terminal))


async def list_files(host: Host, want: Want, *, endpoint: str = HUB, token: str = "") -> Listing:
    """What the hub has of a revision, as the Spark is told. Raises Refused, LinkDown."""
    try:
        endpoint = check_endpoint(endpoint)
        return await _list(host, want, endpoint, check_token(token, endpoint))
    except SourceRefused as error:
        raise _refused("SourceRefused", str(error), terminal=True) from error
    except ListingRefused as error:
        raise _refused("ListingRefused", str(error), terminal=True) from error


async def _list(host: Host, want: Want, endpoint: str, token: str) -> Listing:
    url = repo_files.commit_url(endpoint, want.repository, want.revision)
    commit = repo_files.read_commit((await _get(host, url, want, endpoint, token))[0])
    found: list[RepoFile] = []
    cursor = ""
    for _ in range(MAX_PAGES):
        page = repo_files.tree_url(endpoint, want.repository, commit, cursor)
        body, link = await _get(host, page, want, endpoint, token)
        found += repo_files.read_page(body)
        cursor = repo_files.next_cursor(link)
        if not cursor:
            return repo_files.listing_of(want.repository, want.revision, commit, found)
    raise ListingRefused(f"the hub's listing has more than {MAX_PAGES} pages")


async def _get(host: Host, url: str, want: Want, endpoint: str, token: str) -> tuple[str, str]:
    """The body and the `Link` header of an answer of the API. Redirects are followed within the hub, nowhere else."""
    origin, who = origin_of(endpoint), urlsplit(endpoint).netloc
    what = f"{want.repository} at {want.revision}"
    for _ in range(HOPS):
        outcome = await host.run(ask(url, origin, token), timeout=ASK_TIMEOUT)
        if outcome.status == 127:  # noqa: PLR2004  # the shell's own: no such command
            raise _refused("ToolMissing", "the Spark has no curl: sudo apt install curl", terminal=True)
        reply = read_reply(outcome.stdout)
        if outcome.status != 0 or reply is None:
            raise Refused(failures.of_curl(outcome.status or 0, outcome.stderr, who=who))
        if reply.status == 200:  # noqa: PLR2004
            return reply.body, reply.headers.get("link", "")
        onward = urljoin(url, reply.headers.get("location", "")) if 300 <= reply.status < 400 else ""  # noqa: PLR2004
        if not onward:
            raise Refused(failures.of_http(reply.status, reply.headers, what=what, who=who, token=bool(token)))
        if not onward.startswith(f"{origin}/"):
            raise _refused("HubRefused", f"{who} sends the Spark to another host to list {what}: that is not followed")
        url = onward
    raise _refused("TooManyRedirects", f"{who} sends the Spark from one place to the next without end")


async def survey(host: Host, want: Want, listing: Listing, files: Sequence[RepoFile]) -> Found:
    """What of `files` lies on the Spark. Raises Refused, LinkDown."""
    outcome = await host.run(cache.look(want, listing, files), timeout=LOOK_TIMEOUT)
    try:
        return cache.read_look(outcome.stdout, files)
    except LookFailed as error:
        said = outcome.stderr.strip().splitlines()
        raise _refused("LookFailed", f"{error}{f' ({said[-1][:200]})' if said else ''}") from error


async def fetch(
    host: Host,
    want: Want,
    *,
    endpoint: str = HUB,
    token: str = "",
    peers: Sequence[Peer] = (),
    known: Listing | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    margin: int = MARGIN,
    pace: Pace | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Fetched:
    """Make `want` whole on the Spark behind `host`. What came so far is kept whatever happens, cancellation too.

    `token`: the value of the secret `hf`, or nothing. `known`: the listing that an earlier fetch returned; the hub is
    not asked again then, so that a branch that moved there changes nothing until somebody wants it to. `progress` is
    called about once a second.
    """
    job = _Job(host, want, endpoint.rstrip("/"), token, progress, margin, pace or Pace(), clock)
    try:
        return await job.run(peers, known)
    except Refused as error:
        refused = error.refused
        return replace(job.ended(refused.why), retry_after=refused.retry_after)
    except LinkDown as down:
        return job.ended(Explanation(down.reason, down.message, terminal=False))


@dataclass(slots=True)
class _Job:
    """One fetch: what is known of it so far."""

    host: Host
    want: Want
    endpoint: str
    token: str
    report: Callable[[Progress], None]
    margin: int
    pace: Pace
    clock: Callable[[], float]
    listing: Listing | None = None
    total: int = 0
    came: int = 0
    source: str = ""
    notes: list[str] = field(default_factory=list)

    def ended(self, why: Explanation | None) -> Fetched:
        commit = self.listing.commit if self.listing else ""
        return Fetched(why, commit, self.total, self.came, self.source, tuple(self.notes), listing=self.listing)

    async def run(self, peers: Sequence[Peer], known: Listing | None) -> Fetched:
        listing = self.listing = await self._list(known)
        try:
            files = select(listing, files=self.want.files, quant=self.want.quant)
        except SelectionRefused as error:
            raise _refused("FilesUnclear", str(error), terminal=True) from error
        state, found = await self._look(listing, files)
        self.total = state.total
        for peer in peers if state.missing else ():
            if await self._from_peer(peer, listing, state, found):
                return self.ended(None)
            state, found = await self._look(listing, files)
        if not state.whole or self._misleads(listing, state, found):
            name = urlsplit(self.endpoint).netloc
            urls = {f.etag: repo_files.file_url(self.endpoint, listing, f) for f in state.missing}
            await self._bring(listing, state, found, Source(name, origin_of(self.endpoint), urls, self.token))
        return self.ended(None)

    async def _list(self, known: Listing | None) -> Listing:
        """What there should be: as known before, if that is about this revision; as the hub says otherwise."""
        names = {known.revision, known.commit} if known and known.repository == self.want.repository else set()
        if known and self.want.revision in names:
            return replace(known, revision=self.want.revision)
        return await list_files(self.host, self.want, endpoint=self.endpoint, token=self.token)

    async def _look(self, listing: Listing, files: Sequence[RepoFile]) -> tuple[Completeness, Found]:
        found = await survey(self.host, self.want, listing, files)
        state = cache.completeness(self.want, listing, files, found)
        if state.whole:
            return state, found
        if found.missing_tools:
            missing = ", ".join(found.missing_tools)
            raise _refused("ToolMissing", f"the Spark lacks {missing}, which fetching needs", terminal=True)
        if found.unwritable_for:
            raise Refused(unwritable(self.want, found.unwritable_for))
        needed = cache.bytes_needed(state, found)
        if needed and needed + self.margin > found.free:
            raise Refused(failures.disk_full(needed, found.free, self.margin))
        return state, found

    def _misleads(self, listing: Listing, state: Completeness, found: Found) -> bool:
        """Whether the library's own list of the files would make it miss those that were left out."""
        return found.tree and len(state.files) < len(listing.files)

    async def _from_peer(self, peer: Peer, listing: Listing, state: Completeness, found: Found) -> bool:
        """Whether the peer gave all that was missing. What it could not is noted."""
        try:
            theirs = await survey(peer.host, replace(self.want, cache=peer.cache), listing, state.missing)
            lacks = sum(theirs.blobs.get(file.etag) != file.size for file in state.missing)
            if lacks:
                self.notes.append(f"{peer.name} lacks {lacks} of {len(state.missing)} files")
                return False
            async with serving(peer, state, self.want.repository) as source:
                await self._bring(listing, state, found, source)
        except PeerRefused as error:
            self.notes.append(f"{error}: going on with another source")
            return False
        except LinkDown as down:
            self.notes.append(f"{peer.name}: {down.message}: going on with another source")
            return False
        except Refused as error:
            if error.refused.why.reason in {"DiskFull", "Unwritable", "Busy"}:
                raise
            self.notes.append(f"{peer.name}: {error}: going on with another source")
            return False
        return True

    async def _bring(self, listing: Listing, state: Completeness, found: Found, source: Source) -> None:
        """Run the program to its end. Raises Refused."""
        self.source = source.name
        script = download(
            self.want, listing, state, source, self.pace, forget_tree=self._misleads(listing, state, found)
        )
        tally = Tally(state, found, source.name, self.clock)
        self.report(tally.progress())
        before = tally.done
        lines = cast("AsyncGenerator[str, None]", self.host.stream(script))
        try:
            async with aclosing(lines):
                async for line in _unbroken(lines):
                    if tally.take(line):
                        self.report(tally.progress())
        finally:
            self.came += max(tally.done - before, 0)
        if not tally.whole:
            raise Refused(tally.verdict(self.want, token=bool(source.token)))
        self.report(tally.progress())


async def _unbroken(lines: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    """The lines as they come. Raises Refused when none came for too long."""
    try:
        while True:
            async with asyncio.timeout(SILENCE):
                line = await anext(lines)
            yield line
    except StopAsyncIteration:
        return
    except TimeoutError:
        raise _refused("Silent", f"the Spark said nothing for {SILENCE:g} s while fetching") from None

"""What a repository on the hub holds. Pure.

The answers of the hub's API are not trusted: a path from it ends up as a name on a Spark's disk, so paths, hashes and
the commit pass a whitelist here, and nothing else of the answer is used. A file's hash is its name in the cache, as the
hub itself has it: the SHA-256 of a large file, the SHA-1 that git gives a small one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qs, quote, urlsplit

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
SHA1: Final = re.compile(r"[0-9a-f]{40}")
SHA256: Final = re.compile(r"[0-9a-f]{64}")
PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
MAX_FILES: Final = 20_000
MAX_PATH: Final = 1024  # bytes
MAX_NAME: Final = 255  # bytes of one folder or file
MAX_REVISION: Final = 128
MAX_SIZE: Final = 2**50
PAGE: Final = 1000

Hash = Literal["sha256", "git"]


class ListingRefused(ValueError):
    """What the hub answered can't be used. The message is for people."""


@dataclass(frozen=True, slots=True)
class RepoFile:
    """One file of a repository: its path there, its bytes, and the hash that is also its name in the cache."""

    path: str
    size: int
    etag: str
    hash: Hash


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a repository at one commit."""

    repository: str
    revision: str
    commit: str
    files: tuple[RepoFile, ...]


def check_repository(repository: str) -> str:
    """`name` or `owner/name`, as the hub allows it. Raises ListingRefused.

    `state.fields.Repository` is wider. Here `..` and `--` go too: the cache's folder is made of this name, and `--`
    stands for the `/` there.
    """
    parts = repository.split("/")
    if repository.count("/") > 1 or any(
        not PART.fullmatch(p) or ".." in p or "--" in p or p.endswith(".") for p in parts
    ):
        raise ListingRefused(
            f"{repository!r} is not a repository of the hub: owner/name of letters, digits, ._-, no '..', no '--'"
        )
    return repository


def check_revision(revision: str) -> str:
    """A commit, branch or tag whose name may be a file below `refs`. Raises ListingRefused."""
    parts = revision.split("/")
    if len(revision) > MAX_REVISION or any(not PART.fullmatch(p) or ".." in p or p.endswith(".lock") for p in parts):
        raise ListingRefused(f"{revision!r} is not a revision: letters, digits and ._-/, without '..'")
    return revision


def commit_url(endpoint: str, repository: str, revision: str) -> str:
    """Where the hub says which commit a revision is."""
    return f"{endpoint}/api/models/{check_repository(repository)}/revision/{quote(check_revision(revision), safe='')}"


def tree_url(endpoint: str, repository: str, commit: str, cursor: str = "") -> str:
    """Where the hub lists a page of a commit's files."""
    more = f"&cursor={quote(cursor, safe='')}" if cursor else ""
    return f"{endpoint}/api/models/{check_repository(repository)}/tree/{commit}?recursive=true&limit={PAGE}{more}"


def file_url(endpoint: str, listing: Listing, file: RepoFile) -> str:
    """Where the hub gives a file."""
    return f"{endpoint}/{listing.repository}/resolve/{listing.commit}/{quote(file.path)}"


def read_commit(body: str) -> str:
    """The commit in the hub's answer about a revision. Raises ListingRefused."""
    answer = _json(body, dict)
    commit = answer.get("sha")
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise ListingRefused("the hub did not say which commit this revision is")
    return commit


def read_page(body: str) -> tuple[RepoFile, ...]:
    """The files on one page of the hub's listing. Raises ListingRefused, for one bad entry too."""
    return tuple(_file(entry) for entry in _json(body, list) if _type(entry) == "file")


def next_cursor(link: str) -> str:
    """The place of the next page from a `Link` header, or nothing. Of its address only the cursor is used."""
    for part in link.split(","):
        match = re.fullmatch(r'\s*<([^<>]+)>\s*;\s*rel="?next"?\s*', part)
        if match:
            return parse_qs(urlsplit(match[1]).query).get("cursor", [""])[0]
    return ""


def listing_of(repository: str, revision: str, commit: str, files: Iterable[RepoFile]) -> Listing:
    """The whole listing, in order of paths. Raises ListingRefused where two entries can't lie on one disk."""
    ordered = tuple(sorted(files, key=lambda file: file.path))
    if len(ordered) > MAX_FILES:
        raise ListingRefused(f"the hub lists {len(ordered)} files; at most {MAX_FILES} are handled")
    paths = {file.path for file in ordered}
    if len(paths) != len(ordered):
        raise ListingRefused("the hub lists a file twice")
    for path in paths:
        parents = path.split("/")[:-1]
        if any("/".join(parents[: n + 1]) in paths for n in range(len(parents))):
            raise ListingRefused(f"the hub lists {path!r} inside something that it lists as a file")
    sizes: dict[str, RepoFile] = {}
    for file in ordered:
        if sizes.setdefault(file.etag, file).size != file.size:
            raise ListingRefused(f"the hub lists {file.path!r} with the hash of a file of another size")
    return Listing(repository, revision, commit, ordered)


def _json(body: str, kind: type[Any]) -> Any:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ListingRefused("the hub's answer is not JSON: is something else answering in its place?") from error
    if not isinstance(answer, kind):
        raise ListingRefused("the hub's answer has another shape than its API has")
    return answer


def _type(entry: object) -> object:
    return entry.get("type", "file") if isinstance(entry, dict) else "file"


def _file(entry: object) -> RepoFile:
    if not isinstance(entry, dict):
        raise ListingRefused("the hub's listing has an entry of another shape than its API has")
    path = check_path(entry.get("path"))
    lfs = entry.get("lfs")
    if lfs is None:
        return RepoFile(path, _size(path, entry.get("size")), _hash(path, entry.get("oid"), SHA1), "git")
    if not isinstance(lfs, dict):
        raise ListingRefused(f"the hub's listing of {path!r} has another shape than its API has")
    return RepoFile(path, _size(path, lfs.get("size")), _hash(path, lfs.get("oid"), SHA256), "sha256")


def check_path(path: object) -> str:
    """A path that stays inside the folder it is put into. Raises ListingRefused."""
    if not isinstance(path, str) or not path or re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\\\]", path):
        raise ListingRefused(f"the hub lists a file with a name that is not allowed: {path!r:.200}")
    parts = path.split("/")
    if any(part in {"", ".", ".."} or len(part.encode()) > MAX_NAME for part in parts) or len(path.encode()) > MAX_PATH:
        raise ListingRefused(f"the hub lists a file that would lie outside its folder, or is too long: {path!r:.200}")
    return path


def _size(path: str, size: object) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_SIZE:
        raise ListingRefused(f"the hub says no usable size of {path!r}")
    return size


def _hash(path: str, value: object, pattern: re.Pattern[str]) -> str:
    text = value.removeprefix("sha256:") if isinstance(value, str) else ""
    if not pattern.fullmatch(text):
        raise ListingRefused(f"the hub says no usable hash of {path!r}")
    return text

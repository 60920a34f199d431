"""The Hugging Face cache on a Spark's disk: where things lie, what is there, and whether a revision is whole. Pure.

A repository has a folder `models--owner--name` with `blobs/<hash>`, `snapshots/<commit>/<path>` (relative links to
blobs) and `refs/<revision>` (a file with the commit). One cheap script says what of it is there (`look`); whoever sent
it reads the answer with `read_look`. A blob may itself be a link into the store that `huggingface_hub` 2 shares between
repositories; the script asks for what a link leads to, so such a blob counts as there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler import shell
from reconciler.weights.repo_files import COMMIT, Listing, RepoFile, check_repository, check_revision

DEFAULT_CACHE: Final = "$HOME/.cache/huggingface/hub"
PART: Final = ".sparkkeep.incomplete"  # `.incomplete`, so that the tools of the hub know it for what it is
ENTRY: Final = re.compile(rf"(\d{{1,18}}) ([0-9a-f]{{64}}|[0-9a-f]{{40}})({re.escape(PART)})?")
TOOLS: Final = ("curl", "flock", "sha256sum", "sha1sum", "stat", "df", "mktemp", "truncate")

# $cache and $folder are set before; every value comes as an argument of `see`.
LOOK: Final = r"""
LC_ALL=C; export LC_ALL
for tool in $tools; do command -v "$tool" >/dev/null 2>&1 || printf 'missing %s\n' "$tool"; done
near=$cache; while [ ! -d "$near" ] && [ "${near%/*}" != "$near" ]; do near=${near%/*}; done
df -Pk -- "${near:-/}" | tail -n 1 | sed 's/^/free /'
mine=$cache/$folder
near=$mine/blobs; while [ ! -d "$near" ] && [ "${near%/*}" != "$near" ]; do near=${near%/*}; done
[ -w "${near:-/}" ] || printf 'unwritable %s\n' "$(id -un)"
[ -d "$mine/blobs" ] && (cd -- "$mine/blobs" && stat -L -c 'blob %s %n' -- * 2>/dev/null)
see() { [ "$mine/snapshots/$1/$4" -ef "$mine/blobs/$3" ] && printf 'link %s\n' "$2"; }
[ -f "$mine/refs/$ref" ] && printf 'ref %s\n' "$(head -c 40 -- "$mine/refs/$ref")"
[ -e "$mine/trees/$commit.json" ] && printf 'tree\n'
"""


@dataclass(frozen=True, slots=True)
class Want:
    """A revision that should be on a Spark. `files` and `quant` choose from the repository, as `select` tells."""

    repository: str
    revision: str = "main"
    files: tuple[str, ...] = ()
    quant: str = ""
    cache: str = DEFAULT_CACHE


@dataclass(frozen=True, slots=True)
class Found:
    """What of a revision lies on a Spark. `blobs`, `parts`: bytes by hash; `links`: the paths that lead to their blob.

    `free`: bytes that the disk has left.
    """

    free: int
    blobs: Mapping[str, int]
    parts: Mapping[str, int]
    links: frozenset[str]
    ref: str = ""
    tree: bool = False
    missing_tools: tuple[str, ...] = ()
    unwritable_for: str = ""


class LookFailed(ValueError):
    """The Spark's answer is not whole: it says nothing about what is there."""


def folder_of(repository: str) -> str:
    """`models--owner--name`. Raises ListingRefused for a name that could not be told back from it."""
    return "models--" + check_repository(repository).replace("/", "--")


def look(want: Want, listing: Listing, files: Sequence[RepoFile]) -> str:
    """A script that says what of `files` is there; it only reads."""
    lines = [
        assign("tools", " ".join(TOOLS)),
        assign("cache", shell.home_path(want.cache)),
        assign("folder", folder_of(want.repository)),
        assign("ref", check_revision(want.revision)),
        assign("commit", listing.commit),
        LOOK.strip(),
    ]
    lines += [shell.join(("see", listing.commit, str(n), file.etag, file.path)) for n, file in enumerate(files)]
    return "\n".join([*lines, "echo end"])


def assign(name: str, value: shell.Arg) -> str:
    """`name=value` for a script. `name` is ours, `value` anything."""
    return f"{name}={shell.quote(value)}"


def read_look(text: str, files: Sequence[RepoFile]) -> Found:
    """The answer to `look`. Raises LookFailed for one that is cut short or says no free space."""
    lines = text.splitlines()
    if not lines or lines[-1] != "end":
        raise LookFailed("the Spark did not say to the end what lies in its cache")
    said: dict[str, list[str]] = {}
    for line in lines[:-1]:
        word, _, rest = line.partition(" ")
        said.setdefault(word, []).append(rest)
    space = re.search(r"\s\d+\s+\d+\s+(-?\d+)\s+(?:\d+%|-)\s", " ".join(said.get("free", ())) + " ")
    if not space:
        raise LookFailed("the Spark did not say how much room its disk has")
    entries = [match for text in said.get("blob", ()) if (match := ENTRY.fullmatch(text))]
    numbers = (int(text) for text in said.get("link", ()) if text.isdecimal())
    refs = [text for text in said.get("ref", ()) if COMMIT.fullmatch(text)]
    return Found(
        free=max(int(space[1]), 0) * 1024,
        blobs={match[2]: int(match[1]) for match in entries if not match[3]},
        parts={match[2]: int(match[1]) for match in entries if match[3]},
        links=frozenset(files[number].path for number in numbers if number < len(files)),
        ref=refs[0] if refs else "",
        tree="tree" in said,
        missing_tools=tuple(said.get("missing", ())),
        unwritable_for="".join(said.get("unwritable", ())),
    )


@dataclass(frozen=True, slots=True)
class Completeness:
    """What a revision lacks. `missing`: files without their bytes; `unlinked`: paths that the snapshot lacks."""

    files: tuple[RepoFile, ...]
    missing: tuple[RepoFile, ...]
    unlinked: tuple[RepoFile, ...]
    ref_stale: bool

    @property
    def whole(self) -> bool:
        """Every file is there, under its path, and the revision's name leads to it."""
        return not self.missing and not self.unlinked and not self.ref_stale

    @property
    def total(self) -> int:
        """Bytes of the whole, equal files once."""
        return sum({file.etag: file.size for file in self.files}.values())


def completeness(want: Want, listing: Listing, files: Sequence[RepoFile], found: Found) -> Completeness:
    """Compare what is expected with what was found. A blob of another size than expected counts as missing."""
    missing = tuple({f.etag: f for f in files if found.blobs.get(f.etag) != f.size}.values())
    unlinked = tuple(f for f in files if f.path not in found.links)
    return Completeness(tuple(files), missing, unlinked, want.revision != listing.commit != found.ref)


def bytes_needed(state: Completeness, found: Found) -> int:
    """Bytes that the disk must still take: what is missing, less what already came of it."""
    return sum(max(file.size - found.parts.get(file.etag, 0), 0) for file in state.missing)

"""Mail, addresses of the web and of machines."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import regex

from api.proxies.redaction.detect.page import Page, marked, words
from api.proxies.redaction.finds import Find

_MAIL: Final = regex.compile(r"(?<![\w.+/-])[\w.+%'-]{1,64}+(?<=[\w+-])@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w@-])")
_SPELT: Final = regex.compile(
    r"\b[\w.+-]{2,64}\s?(?:\(at\)|\[at\]|\{at\}|\sat\s)\s?[\w-]{2,63}\s?(?:\(dot\)|\[dot\]|\{dot\}|\sdot\s)\s?"
    r"(?:com|org|net|edu|gov|io|de|fr|uk|co)\b",
    regex.IGNORECASE,
)
_NOBODY: Final = frozenset({"git", "hg", "svn", "noreply", "no-reply"})
_URL: Final = regex.compile(r"\b(?:https?|ftp|wss?)://[^\s<>\"'`{}|\\^\[\]]+", regex.IGNORECASE)
_BARE: Final = regex.compile(
    r"(?<![\w@./:-])(?:www\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"(com|org|net|edu|gov|info|biz|eu|de|fr|uk|nl|es|it|pt|se|no|dk|fi|ch|at|be|ie|cz|gr|hu|ro|jp|cn|kr|br|mx|ar|ca|au|nz"
    r"|in|us|ru|ua|tr|za|il|pl)\b(?:/[^\s<>\"'`)]*)?",
    regex.IGNORECASE,
)
# Hosts that tell of nobody who names them; below them only what names an account is personal.
_PUBLIC: Final = frozenset(
    """
    example.com example.org example.net example.edu github.com github.io githubusercontent.com gitlab.com
    bitbucket.org python.org pypi.org readthedocs.io readthedocs.org npmjs.com npmjs.org nodejs.org docker.com
    docker.io ghcr.io quay.io nvcr.io nvidia.com google.com googleapis.com gstatic.com microsoft.com azure.com
    apple.com amazon.com amazonaws.com wikipedia.org wikimedia.org wikidata.org w3.org ietf.org rfc-editor.org
    iana.org iso.org ieee.org acm.org arxiv.org doi.org mozilla.org kernel.org debian.org ubuntu.com redhat.com
    gnu.org apache.org nginx.org kubernetes.io openssl.org openssh.com sqlite.org postgresql.org mysql.com redis.io
    mongodb.com elastic.co grafana.com prometheus.io openai.com anthropic.com huggingface.co hf.co vllm.ai
    ollama.com stackoverflow.com stackexchange.com reddit.com ycombinator.com youtube.com youtu.be twitter.com x.com
    facebook.com instagram.com linkedin.com tiktok.com medium.com t.me json-schema.org schema.org opensource.org
    creativecommons.org unicode.org cloudflare.com rust-lang.org golang.org go.dev crates.io docs.rs oracle.com
    java.com jquery.com reactjs.org ibm.com intel.com amd.com slack.com zoom.us dropbox.com paypal.com ebay.com
    netflix.com spotify.com bbc.co.uk cnn.com nytimes.com keepachangelog.com semver.org yaml.org toml.io
    pydantic.dev tiangolo.com uvicorn.org bugs.python.org sourceforge.net perl.org php.net ruby-lang.org
    """.split()
)
_ACCOUNT: Final = regex.compile(
    r"(?:linkedin\.com/(?:in|pub)/|(?:facebook|instagram|twitter|x|tiktok|t|youtube|medium|reddit)\.(?:com|me)/(?:@|u/|user/)?)"
    r"(?!(?:watch|playlist|search|hashtag|home|share|intent|embed|r)\b)[\w.-]{3,}",
    regex.IGNORECASE,
)
_TELLING: Final = regex.compile(
    r"[?&;#](?:[\w-]*(?:token|key|secret|passw\w*|sig(?:nature)?|session|auth|code|user\w*|e?mail|phone|name|ssn|id))=[^&\s]{3,}"
    r"|@[\w.-]+\.\w|://[^/\s:@]+:[^/\s@]+@",
    regex.IGNORECASE,
)
_LOCAL: Final = regex.compile(
    r"^(?:localhost|[\w-]+|.*\.(?:local|localhost|internal|invalid|test|example|lan|svc|arpa))$"
)

_IP: Final = regex.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IP_SIX: Final = regex.compile(
    r"(?<![\w:.])(?=[0-9a-f:]*[0-9])(?:[0-9a-f]{1,4}:|:){2,7}(?::|[0-9a-f]{1,4})(?![\w:])", regex.IGNORECASE
)
_MAC: Final = regex.compile(
    r"(?<![\w:-])[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}(?![\w:-])", regex.IGNORECASE
)
_VERSION: Final = words("version", "v", "ver", "release", "build", "driver", "firmware", "oid", "section", "chapter")
_TRAIL: Final = ".,;:!?)'*"


def mail(page: Page) -> Iterator[Find]:
    """Addresses of mail, also those that are spelt out."""
    if "@" in page.text:
        for found in _MAIL.finditer(page.text):
            local, host = found[0].lower().rsplit("@", 1)
            if local in _NOBODY and host in _PUBLIC:
                continue
            yield Find(found.start() + (found[0][0] == "'"), found.end(), "EMAIL", 0.98)
    for found in _SPELT.finditer(page.text):
        yield marked(found, 0, "EMAIL", 0.8)


def _public(host: str) -> bool:
    parts = host.lower().removeprefix("www.").split(".")
    return any(".".join(parts[at:]) in _PUBLIC for at in range(len(parts)))


def links(page: Page) -> Iterator[Find]:
    """Addresses of pages that may be somebody's: not those of hosts that all the world names."""
    taken: list[tuple[int, int]] = []
    if "://" in page.text:
        for found in _URL.finditer(page.text):
            link = found[0].rstrip(_TRAIL)
            end = found.start() + len(link)
            taken.append((found.start(), found.end()))
            host = link.partition("://")[2].split("/")[0].split("?")[0].rpartition("@")[2].rsplit(":", 1)[0]
            quiet = _LOCAL.match(host) or _public(host) or regex.fullmatch(r"[\d.]+|\[.*\]?", host) or "." not in host
            if not quiet or _ACCOUNT.search(link) or _TELLING.search(link):
                yield Find(found.start(), end, "URL", 0.9)
    for found in _BARE.finditer(page.text):
        if any(start <= found.start() < end for start, end in taken):
            continue
        link = found[0].rstrip(_TRAIL)
        named = link.lower().startswith("www.") or found[1].lower() in ("com", "org", "net", "edu")
        if _ACCOUNT.search(link) or (
            not _public(link.split("/")[0])
            and (page.prose(found.start()) if named else link.lower().startswith("www."))
        ):
            yield Find(found.start(), found.start() + len(link), "URL", 0.7)


def machines(page: Page) -> Iterator[Find]:
    """Addresses of machines that are somebody's: not loopback, masks, or what documents use."""
    for found in _IP.finditer(page.text):
        try:
            address = IPv4Address(found[0])
        except AddressValueError:
            continue
        dull = address.is_loopback or address.is_unspecified or address.is_multicast or int(address) >> 24 in (0, 255)
        if dull or page.before(found.start(), _VERSION, 12):
            continue
        yield marked(found, 0, "IP", 0.9)
    if ":" not in page.text:
        return
    for found in _IP_SIX.finditer(page.text):
        if len(found[0].replace(":", "")) < 5:
            continue
        try:
            six = IPv6Address(found[0])
        except AddressValueError:
            continue
        if not (six.is_loopback or six.is_unspecified):
            yield marked(found, 0, "IP", 0.9)
    for found in _MAC.finditer(page.text):
        if found[0].replace(found[1], "").strip("0f"):
            yield marked(found, 0, "MAC", 0.85)

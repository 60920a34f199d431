# ruff: noqa: RUF012  # pydantic copies mutable defaults
"""The redaction gateway: `settings.redaction`. Keys of clouds are named here; what they are is each a secret."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from state.declared import Declared
from state.fields import Duration, Name, Steers, text
from state.notifications import web_address

Pictures = Literal["refuse", "pass"]
CloudModel = Annotated[
    str,
    text(
        r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$", "a model's name such as gpt-5.2 or openai/gpt-oss-120b", longest=200
    ),
]
AuthorityFile = Annotated[
    str, text(r"^/[A-Za-z0-9._/+@~-]{1,1023}$", "the whole path of a file such as /etc/ssl/gateway.pem", longest=1024)
]
_AT_HOME: Final = ("localhost",)


def _cloud(value: str) -> str:
    """An address for requests: no query, and nothing private in plain text over the internet. Raises ValueError."""
    address = web_address(value)
    parts = urlsplit(address)
    if parts.query or parts.path.endswith("/"):
        raise ValueError("must be an address such as https://api.openai.com/v1, without a query or a last slash")
    if parts.scheme == "http" and not _private(parts.hostname or ""):
        raise ValueError("must begin with https: only a private address may be asked over http")
    return address


def _private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host in _AT_HOME


class CloudTarget(Declared):
    """A service outside, or another gateway, that requests may go to once private words are out of them."""

    name: Name
    """What it is called here, such as openai; `openai/gpt-5.2` asks it and nobody else."""
    url: Annotated[str, Field(max_length=2048), AfterValidator(_cloud)]
    """Where its API begins, with the version, such as https://api.openai.com/v1 or https://api.anthropic.com/v1."""
    speaks: Literal["openai", "anthropic"] = "openai"
    """Its dialect."""
    secret: Name | None = None
    """Name of the secret that is its key (`sparkkeep secret set NAME`); left out: none is shown to it."""
    models: Annotated[list[CloudModel], Field(min_length=1, max_length=256)]
    """The models that may be asked there. Where one of ours has the same name, ours is asked."""
    images: Pictures = "refuse"
    """Whether pictures, and other data that is no text, may go there: nothing in them is masked."""
    authority: AuthorityFile | None = None
    """File with the certificates that its own must be signed by (PEM); left out: those that this machine trusts."""


def _once(given: list[CloudTarget]) -> list[CloudTarget]:
    names = [target.name for target in given]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two of them are named {twice}")
    return given


FindType = Annotated[str, text(r"^[A-Z](?:[A-Z_]{0,38}[A-Z])?$", "a type such as PERSON or CUSTOMER_ID", longest=40)]
Phrase = Annotated[str, text(r"^[^\x00-\x1f\x7f]{1,200}$", "at most 200 characters on one line", longest=200)]
Region = Annotated[str, text(r"^[A-Z]{2}$", "two capital letters such as DE", longest=2)]
Expression = Annotated[str, text(r"^[^\x00-\x1f\x7f]{1,500}$", "a regular expression on one line", longest=500)]
Score = Annotated[float, Field(ge=0, le=1)]
DETECTION: Final = Steers("what is found in redacted requests")


class Recognizer(Declared):
    """Something that only this house has: its form, and words that stand near it."""

    type: FindType
    """What its placeholders are called, such as CUSTOMER_ID."""
    pattern: Expression
    """Its form, for Python's `regex` module. What is named `(?P<find>…)` in it is the find, or else all of it."""
    score: Score = 0.85
    """How sure a match is."""
    context: Annotated[list[Phrase], Field(max_length=50)] = []
    """Words of which one has to stand near, where any are given."""
    ignore_case: bool = True
    """Whether capitals make no difference."""


class Detection(Declared):
    """What counts as private."""

    ner: Annotated[bool, DETECTION] = True
    """Whether names in prose are looked for, by a small model and by lists; otherwise only what has a form."""
    types: Annotated[list[FindType] | None, Field(max_length=100), DETECTION] = None
    """Only these types are masked; left out: all."""
    skip_types: Annotated[list[FindType], Field(max_length=100), DETECTION] = []
    """Types that are not masked."""
    thresholds: Annotated[dict[FindType, Score], Field(max_length=100), DETECTION] = {}
    """The least score of a type that is masked, from 0 to 1; of all others it is 0.5."""
    allow: Annotated[list[Phrase], Field(max_length=10_000), DETECTION] = []
    """Texts that are not private here, such as the name of the house."""
    deny: Annotated[dict[Phrase, FindType], Field(max_length=10_000), DETECTION] = {}
    """Texts that always are, and their type, such as {Bluebird: PROJECT}."""
    recognizers: Annotated[list[Recognizer], Field(max_length=100), DETECTION] = []
    """What only this house has, by its form."""
    processes: Annotated[int, Field(strict=True, ge=1, le=16), DETECTION] = 1
    """How many processes look through texts at a time. Each holds the model: some 300 MiB."""
    regions: Annotated[list[Region] | None, Field(max_length=20), DETECTION] = None
    """Countries whose telephone numbers are known without their code; left out: the usual ones."""


class Redaction(Declared):
    """The redaction gateway."""

    enabled: Annotated[bool, Steers("the redaction gateway")] = True
    """Whether `/redact/v1` answers, where the packages that it needs are installed."""
    targets: Annotated[
        list[CloudTarget], Field(max_length=32), AfterValidator(_once), Steers("where redacted requests may go")
    ] = []
    """Services outside that redacted requests may go to, beside our own models."""
    images: Annotated[Pictures, Steers("redacted requests to our own models")] = "pass"
    """Whether pictures, and other data that is no text, may go to our own models: nothing in them is masked."""
    on_detector_down: Annotated[Pictures, Steers("redacted requests to our own models")] = "refuse"
    """What becomes of a request to one of our own models if nothing can be detected: refused, or passed as it came.
    One that would leave the house is always refused."""
    hint: Annotated[Literal["append", "insert", "never"], Steers("redacted requests")] = "append"
    """Where something was masked, one line tells the model what placeholders are: at the end of the system's words
    (append), also where a request has none (insert: not every model takes a message of the system), or nowhere."""
    detection: Detection = Detection()
    """What is found."""
    session_lifetime: Annotated[Duration, Field(gt=0), Steers("the map of masked words")] = 86400.0
    """How long a named session is remembered after its last request, such as 24h; from the next start on."""
    memory_only: Annotated[bool, Steers("the map of masked words")] = False
    """Whether what was masked is kept in memory only, and forgotten at the end; otherwise encrypted, in a file. From
    the next start on."""

# ruff: noqa: RUF012  # pydantic copies mutable defaults
"""Who is told when something lasts: the addresses of webhooks, as they stand under `settings.notifications`.

An address may itself be a secret (Slack's are: whoever has one may write there), and then it is named and not written.
What is wrong with an address is said without repeating it.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import Discriminator, Field, Tag

from state.declared import Declared
from state.fields import Duration, Name, as_input, text
from state.recipes import SecretRef, map_or_text

Kind = Literal["json", "slack", "ntfy"]
Topic = Literal["workload", "spark", "approval", "desired", "git", "lease", "health"]
TOPICS: Final[tuple[Topic, ...]] = ("workload", "spark", "approval", "desired", "git", "lease", "health")

LONGEST: Final = 2048
_PATTERN: Final = (
    r"^https?://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)(:\d{1,5})?"
    r"(/[A-Za-z0-9._~/&=%+,:;@!$'()*-]*)?(\?[A-Za-z0-9._~/?&=%+,:;@!$'()*-]*)?$"
)
WORDS: Final = "an http or https address such as https://ntfy.lan/sparks, of at most 2048 characters"
SLACK: Final = "hooks.slack.com"


def web_address(value: object) -> str:
    """An http or https address without user and password. Raises ValueError, which repeats nothing of it."""
    if not isinstance(value, str):
        raise ValueError("must be an address such as https://ntfy.lan/sparks, or {secret: NAME}")  # noqa: TRY004  # pydantic wants it
    if "@" in value.partition("://")[2].partition("/")[0]:
        raise ValueError("must have no user or password in it: write it to a secret, and name that as {secret: NAME}")
    found = re.fullmatch(_PATTERN, value)
    if found is None or len(value) > LONGEST:
        raise ValueError(f"must be {WORDS}")
    return value


def _open_address(value: object) -> str:
    """An address that may stand in a file which others read. Raises ValueError."""
    address = web_address(value)
    if host_of(address) == SLACK:
        what = "is itself a secret: `sparkkeep secret set slack-url` takes it, and {secret: slack-url} names it here"
        raise ValueError(what)
    return address


def host_of(address: str) -> str:
    """Whose address it is, without what follows: that may be nobody else's business."""
    return address.partition("://")[2].partition("/")[0].partition("?")[0].lower()


Address = Annotated[
    Annotated[str, as_input(_open_address, Annotated[str, text(_PATTERN, WORDS, longest=LONGEST)]), Tag("<text>")]
    | Annotated[SecretRef, Tag("<map>")],
    Discriminator(map_or_text),
]


class Notification(Declared):
    """One place that is told when something is wrong and lasts, and when it is over."""

    name: Name
    """What it is called here, such as phone."""
    url: Address
    """Its address (http or https, no user or password); one that is itself a secret is named: {secret: slack-url}."""
    kind: Kind = "json"
    """In which form: json (docs/NOTIFICATIONS.md), slack (also Mattermost and the like), or ntfy."""
    after: Duration = 120.0
    """How long something must last before it is told, such as 2m."""
    on: Annotated[list[Topic], Field(min_length=1, max_length=len(TOPICS))] = [*TOPICS]
    """What is told: workload (it does not serve, or waits for a person), spark (it does not answer), approval (a plan
    waits for it), desired (it is invalid), git (its remote), lease (another sparkkeep keeps a Spark), health (what deep
    health found)."""

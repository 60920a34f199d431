"""Who may ask models, and how often: the keys of `settings.proxy.keys`.

Without any key everybody is let in, by the name of their address. With keys, each app shows one as OpenAI's or
Anthropic's programs do (`Authorization: Bearer`, `x-api-key`). Only digests are kept, and all of them are compared,
each in the same time whatever was shown. A key is looked up again when the settings name another secret for it, and
now and then, so that a secret that was replaced counts within seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from api.proxies.calls import Refused
from api.proxies.records import Record
from api.proxies.routing.buckets import Bucket
from state.proxy import AppKey
from state.secrets import SecretRefused

READ_AGAIN: Final = 10.0  # seconds after which the secrets are read anew

log = logging.getLogger("sparkkeep.proxies")


@dataclass(slots=True, kw_only=True)
class Holder:
    """Who has a key, and what is left to them."""

    key: AppKey
    digest: bytes
    requests: Bucket | None = None
    tokens: Bucket | None = None


class Keys:
    """Lets requests in. `under_way`: how many requests of a name are under way."""

    def __init__(
        self,
        declared: Callable[[], Sequence[AppKey]],
        secret: Callable[[str], str],
        under_way: Callable[[str], int],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._declared = declared
        self._secret = secret
        self._under_way = under_way
        self._now = now
        self._made_of: Sequence[AppKey] = ()
        self._holders: dict[str, Holder] = {}
        self._read_at = float("-inf")
        self._lacking: frozenset[str] = frozenset()

    @property
    def wanted(self) -> bool:
        """Whether a key has to be shown."""
        return bool(self._declared())

    def who(self, key: str, address: str) -> str:
        """Who asks with this key, by its name, or their address where none is asked for. Raises Refused (401, 429)."""
        if not self._declared():
            return address
        now = self._now()
        self._renew(now)
        holder = self._holder(key)
        if holder is None:
            message = "this address asks for a key: send `Authorization: Bearer KEY` or `x-api-key: KEY`"
            raise Refused(401, "KeyNeeded", message)
        self._limit(holder, now)
        return holder.key.name

    def heard(self, record: Record) -> None:
        """A request is over: now it is known how many tokens it used."""
        holder = self._holders.get(record.call.who)
        if holder is not None and holder.tokens is not None:
            holder.tokens.take(self._now(), sum(count or 0 for count in record.tokens))

    def _limit(self, holder: Holder, now: float) -> None:
        key = holder.key
        if key.concurrency is not None and self._under_way(key.name) >= key.concurrency:
            message = f"the key {key.name} has {key.concurrency} requests under way, as many as it may"
            raise Refused(429, "TooManyRequests", message, retry_after=1.0)
        if holder.tokens is not None and (wait := holder.tokens.wait(now)):
            message = f"the key {key.name} has used its {key.tokens_per_minute} tokens a minute"
            raise Refused(429, "TokensUsed", message, retry_after=wait)
        if holder.requests is not None:
            if wait := holder.requests.wait(now):
                message = f"the key {key.name} has made its {key.requests_per_minute} requests a minute"
                raise Refused(429, "TooManyRequests", message, retry_after=wait)
            holder.requests.take(now)

    def _holder(self, key: str) -> Holder | None:
        """All are compared, so that the time tells nothing."""
        given, found = sha256(key.encode("utf-8", "surrogatepass")).digest(), None
        for holder in self._holders.values():
            if compare_digest(given, holder.digest):
                found = holder
        return found

    def _renew(self, now: float) -> None:
        declared = self._declared()
        if declared == self._made_of and now < self._read_at + READ_AGAIN:
            return
        self._made_of, self._read_at = declared, now
        holders, lacking = dict[str, Holder](), set[str]()
        for key in declared:
            try:
                digest = sha256(self._secret(key.secret).encode()).digest()
            except SecretRefused as refused:
                lacking.add(key.name)
                if key.name not in self._lacking:
                    log.warning("the key %s lets nobody in: %s", key.name, refused)
                continue
            holders[key.name] = _holder(key, digest, self._holders.get(key.name), now)
        self._holders, self._lacking = holders, frozenset(lacking)


def _holder(key: AppKey, digest: bytes, before: Holder | None, now: float) -> Holder:
    """What is left to them stays, as long as it is counted in the same way."""

    def bucket(per_minute: int | None, kept: Bucket | None) -> Bucket | None:
        if per_minute is None or (kept is not None and kept.per_minute == per_minute):
            return kept if per_minute is not None else None
        return Bucket(per_minute, now)

    return Holder(
        key=key,
        digest=digest,
        requests=bucket(key.requests_per_minute, before.requests if before else None),
        tokens=bucket(key.tokens_per_minute, before.tokens if before else None),
    )

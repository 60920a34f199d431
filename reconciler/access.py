"""Failures that another secret could mend: which those are, and whether what an attempt was shown is another by now.

A login that a registry refused and a token that a hub did not accept don't get better by trying again; with another
secret they may. So it is remembered what each fetch of an image and each creation of a container was shown, and where
that has changed, the wait is over. A container keeps the secrets of its making: it is made anew then, not started. No
value is kept, only a digest of it under a key that this process makes up and forgets.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from typing import Final

from reconciler.images import registry
from reconciler.ledger import Ledger
from reconciler.model import Failure, Instance, Key, Login, Step, Verb
from reconciler.target import Target
from state.secrets import SecretRefused

OF_LOGIN: Final = frozenset({"PullDenied", "ImageNotFound"})  # a registry hides what it does not let one see
OF_HUB: Final = frozenset({"ModelGated", "HfTokenRefused", "ModelNotFound", "NgcKeyRefused"})
OF_MAKING: Final = OF_HUB | {"SecretRefused", "ContainerExited"}  # an end that nothing explains may be a wrong password
DIGEST: Final = 16  # bytes


def waits_for(reason: str, instance: Instance | None) -> str:
    """What a terminal failure of this reason waits for, in words."""
    if reason in OF_LOGIN:
        return "waits for a change of its declaration or of the login for its registry"
    if reason in OF_HUB and instance is not None and instance.spec.secrets:
        return "waits for a change of its declaration or of its secrets"
    return "waits for a change of its declaration"


class Shown:
    """What each workload was last shown on each Spark, since this process began."""

    def __init__(self, secret: Callable[[str], str]) -> None:
        """`secret` gives a secret's value by its name, or raises SecretRefused."""
        self._secret = secret
        self._key = secrets.token_bytes(DIGEST)
        self._logins: dict[Key, bytes] = {}
        self._making: dict[Key, bytes] = {}

    def begun(self, step: Step) -> None:
        """A step is about to run."""
        if step.verb is Verb.PULL:
            self._logins[step.workload, step.spark] = self._of_login(step.login)
        elif step.verb is Verb.CREATE:
            self._making[step.workload, step.spark] = self.of(name for _, name in step.secrets)

    def renew(self, spark: str, target: Target, ledger: Ledger, now: float) -> Iterator[tuple[Instance, Failure]]:
        """End the waits on a Spark that another secret could end. Gives each that was waiting, as it was."""
        for instance in target.instances.get(spark, ()) if ledger.failures else ():
            failure = ledger.failures.get((instance.workload, spark))
            if failure is None or failure.renewed or failure.spec_hash != instance.spec_hash:
                continue
            if self._other(failure, instance, target.logins.get(registry(instance.fetched))):
                ledger.renew((instance.workload, spark), now)
                if failure.terminal or now < failure.retry_at:
                    yield instance, failure

    def keep_only(self, keys: AbstractSet[Key]) -> None:
        """Drop what nobody can ask for any more."""
        for remembered in (self._logins, self._making):
            for key in remembered.keys() - keys:
                del remembered[key]

    def of(self, names: Iterable[str]) -> bytes:
        """A digest of what these secrets hold now: another one if any of them is set, changed or removed."""
        return self._digest(*(part for name in names for part in (name, self._value(name))))

    def _other(self, failure: Failure, instance: Instance, login: Login | None) -> bool:
        key = (instance.workload, instance.spark)
        if failure.reason in OF_LOGIN:
            return self._logins.get(key, b"") not in {b"", self._of_login(login)}
        if failure.reason not in OF_MAKING or not instance.spec.secrets:
            return False
        before = self._making.get(key)
        if before is None:  # made by an earlier life of this process: nobody knows with which token
            return failure.reason in OF_HUB
        return before != self.of(name for _, name in instance.spec.secrets)

    def _of_login(self, login: Login | None) -> bytes:
        return self._digest() if login is None else self._digest(login.user, login.secret, self._value(login.secret))

    def _value(self, name: str) -> str | None:
        try:
            return self._secret(name)
        except SecretRefused:
            return None

    def _digest(self, *parts: str | None) -> bytes:
        return blake2b(repr(parts).encode(), key=self._key, digest_size=DIGEST).digest()

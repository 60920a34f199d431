"""What the code that runs now is about: a Spark, a workload, one pass. Lines of log and the journal say so.

controller-runtime gives each reconcile an id, `reconcileID`, which stands on every line of it; so does a worker here.
The context travels with tasks (`contextvars`): what a pass begins beside itself, such as a fetch, goes on under its id.
What a pass only finds missing and sets up for good, such as a probe, is begun `outside` of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, replace
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogContext:
    """Empty where it is about nothing of that kind. `reconcile` is the id of a pass."""

    spark: str = ""
    workload: str = ""
    reconcile: str = ""


NOTHING: Final = LogContext()
_CURRENT: Final = ContextVar("log_context", default=NOTHING)


def current() -> LogContext:
    """What the caller is about."""
    return _CURRENT.get()


def new_id() -> str:
    """For one pass: 12 hex digits, which no other has."""
    return secrets.token_hex(6)


def be_about(**what: str) -> None:
    """From here on this task, and what it begins, is about this."""
    _CURRENT.set(replace(_CURRENT.get(), **what))


@contextmanager
def about(**what: str) -> Iterator[None]:
    """The same, until the end of the block."""
    token = _CURRENT.set(replace(_CURRENT.get(), **what))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def no_pass() -> Context:
    """A context as here, of no pass: for tasks that outlive the one in which they happen to be begun."""
    context = copy_context()
    context.run(be_about, reconcile="", workload="")
    return context


def outside(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it outside of any pass: so are the tasks that it begins."""
    return no_pass().run(call, *args, **kwargs)

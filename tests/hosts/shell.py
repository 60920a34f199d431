"""Run programs and wait for things: the two verbs every other module here needs."""

import subprocess
import time
from collections.abc import Callable, Sequence


class HostError(RuntimeError):
    """A program failed, or something did not happen in time."""


def call(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout: float = 60,
    text: str | None = None,
    env: dict[str, str] | None = None,
    merge: bool = False,
) -> str:
    """Run `argv` with `text` on its standard input; return its standard output, and error too with `merge`.

    With check=False a failure's output is returned too, followed by what stood on standard error.
    """
    try:
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge else subprocess.PIPE,
            input=text or "",
            timeout=timeout,
            env=env,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{list(argv)} took more than {timeout} s") from error
    if done.returncode and check:
        raise HostError(f"{list(argv)} exited {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout if not done.returncode else done.stdout + (done.stderr or "")


def wait_for(ready: Callable[[], bool], what: str, *, seconds: float = 20, every: float = 0.01) -> None:
    """Poll until `ready()`; raise with `what` was awaited otherwise."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise HostError(f"waited {seconds} s for {what}")
        time.sleep(every)

"""How long each stage of a request may take, and how much of it is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds and bytes. A model may think for minutes before its first byte; a connection that is refused is not."""

    head: float = 30
    """For a request's head to be complete."""
    body: float = 60
    """Between two pieces of a request's body."""
    connect: float = 5
    """For a backend to accept a connection."""
    first_byte: float = 900
    """From the request to the head of its answer, and to the first event of a stream."""
    idle: float = 300
    """Between two pieces of an answer, and for a client to read what was written to it."""
    keep_alive: float = 75
    """For a client's next request."""
    kept_alive: float = 4
    """For a backend's connection to be used again: a little less than the 5 s after which many servers close one."""
    linger: float = 2
    """For a client to read why it was refused, while it still sends."""
    grace: float = 1.5
    """Before a stream is begun that has to wait, with keep-alives, or whose first event takes its time.

    Until then an error can still have a status.
    """
    beat: float = 10
    """Between two keep-alives."""
    silence: float = 45
    """Before an answer in JSON that takes so long is begun with blanks, which a timeout on the way does not survive
    without."""
    sound_job: float = 6 * 3600
    """For a transcript that nobody waits for."""
    drain: float = 4.5
    """For answers under way when the server ends; then streams are told."""

    kept_body: int = 8 * 2**20
    """Of a request, for a second attempt. Longer ones pass through, and have none."""
    whole_body: int = 64 * 2**20
    """Of a request that has to be there as a whole, to be translated."""
    sound: int = 512 * 2**20
    """Of a request with a sound, which is spooled."""
    fields: int = 4 * 2**20
    """Of such a request, beside the sound: with them are the voices that a caller knows."""
    ahead: int = 64 * 2**10
    """Of what a client sends before the answer to what it sent before."""
    first_event: int = 64 * 2**10
    """Of a stream, looked through for an error before it is passed on."""
    idle_links: int = 256
    """Open connections to a backend that nobody uses."""

"""Sentences of dockerd that changed between its versions, or are too long to stand where they are raised."""

from __future__ import annotations

from typing import Final

from reconciler.practice.clock import digest
from reconciler.practice.containers import Container, Publish

EVENTS_SAY_HOW_LONG: Final = 23  # the major versions from which on ...
REMOVE_SAYS_NAME: Final = 24
NETWORKING_SAYS_SO: Final = 28
ANYWHERE: Final = "0.0.0.0"  # noqa: S104 - Docker's words; nothing is bound


def cannot_remove(container: Container, version: int) -> str:
    """A running container, and no `--force`."""
    if version < REMOVE_SAYS_NAME:
        return (
            f"You cannot remove a {container.state} container {container.id}. "
            "Stop the container before attempting removal or force remove"
        )
    verb = "unpause" if container.state == "paused" else "stop"
    return (
        f'cannot remove container "/{container.name}": container is {container.state}: '
        f"{verb} the container before removing or force remove"
    )


def networking(text: str, version: int) -> str:
    """Whatever goes wrong with a container's network at its start."""
    return f"failed to set up container networking: {text}" if version >= NETWORKING_SAYS_SO else text


def port_taken(container: Container, port: Publish, version: int, *, by_container: bool) -> str:
    """A published port that something else has."""
    address = f"{port.address or ANYWHERE}:{port.host}"
    if by_container:
        why = f"Bind for {address} failed: port is already allocated"
    elif version >= NETWORKING_SAYS_SO:
        why = f"failed to bind host port for {address}: address already in use"
    else:
        why = f"Error starting userland proxy: listen tcp4 {address}: bind: address already in use"
    endpoint = f"{container.name} ({digest('endpoint ' + container.id)})"
    return networking(f"driver failed programming external connectivity on endpoint {endpoint}: {why}", version)


def program_not_found(program: str) -> str:
    """The image has no such program."""
    return (
        "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create "
        f'failed: unable to start container process: error during container init: exec: "{program}": '
        "executable file not found in $PATH: unknown"
    )

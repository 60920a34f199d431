"""`docker login` on a practice Spark: into the configuration file that the command was given, as docker's own does.

A registry takes any login, unless a fault says which one it takes; then it gives its images to that one only.
"""

from __future__ import annotations

import base64
import json
import posixpath
from typing import TYPE_CHECKING, Any, Final

from reconciler.practice.errors import DaemonError
from reconciler.practice.images import HUB

if TYPE_CHECKING:
    from reconciler.practice.docker_flags import Parsed
    from reconciler.practice.engine import Engine
    from reconciler.practice.files import Files
    from reconciler.practice.images import Reference
    from reconciler.practice.shell_io import Io

NO_TERMINAL: Final = "Error: Cannot perform an interactive login from a non TTY device"


async def login(engine: Engine, parsed: Parsed, config: str, io: Io) -> int:
    """`docker login --username USER --password-stdin [REGISTRY]`. Raises DaemonError for a login that is not taken."""
    user = parsed.last("username")
    if not user or not parsed.on("password-stdin"):
        io.error(f"{NO_TERMINAL}\n")
        return 1
    registry = parsed.arguments[0] if parsed.arguments else HUB
    password = (await io.stdin.read()).decode().removesuffix("\n").removesuffix("\r")
    wanted = engine.machine.switches.registry_users.get(registry)
    if wanted is not None and wanted != (user, password):
        raise DaemonError(500, f'Get "https://{registry}/v2/": unauthorized: authentication required')
    kept = _kept(engine.files, config)
    kept.setdefault("auths", {})[registry] = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
    engine.files.make_folder(posixpath.dirname(config))
    if engine.files.exists(config):
        engine.files.remove(config)
    engine.files.write(config, json.dumps(kept).encode(), mode=0o600)
    io.error(f"WARNING! Your credentials are stored unencrypted in '{config}'.\n")
    io.out("\nLogin Succeeded\n")
    return 0


def check(engine: Engine, reference: Reference, config: str) -> None:
    """Raises DaemonError where the registry wants a login that this configuration has not."""
    wanted = engine.machine.switches.registry_users.get(reference.registry)
    if wanted is None:
        return
    given = _kept(engine.files, config).get("auths", {}).get(reference.registry, {}).get("auth", "")
    if base64.b64decode(given).decode() != ":".join(wanted):
        engine.machine.switches.count("login_missing")
        url = f"https://{reference.registry}/v2/{reference.path}/manifests/{reference.tag}"
        raise DaemonError(500, f'Head "{url}": unauthorized: authentication required')


def _kept(files: Files, config: str) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(files.read(config))
    except OSError:
        return {}
    return kept

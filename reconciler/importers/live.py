"""A running container, asked of its Spark: which commands tell all about it, and what of their answer may leave here.

Pure. What Docker tells of a container holds its environment and its arguments, and those hold keys and passwords.
Each value that looks like a secret is replaced before anybody sees it, by a text that the importer in turn takes for
a secret: the recipe then names a secret in its place.
"""

from __future__ import annotations

import json
from typing import Any, Final

from reconciler.importers.masks import MASKED, arguments_masked, variable_masked
from reconciler.model import SPEC
from reconciler.shell import Argv

Json = dict[str, Any]
READABLE: Final = ("com.docker.compose.", "sparkkeep.")  # labels that the importer reads; others may say anything
ARGUMENTS: Final = (("Config", "Cmd"), ("Config", "Entrypoint"), ("Args",))


def inspect_container(container: str) -> Argv:
    """Print what Docker knows of one container. Changes nothing."""
    return ("docker", "inspect", "--type", "container", container)


def inspect_image(image: str) -> Argv:
    """Print what Docker knows of one image, by its id."""
    return ("docker", "inspect", "--type", "image", image)


def masked(container: str, image: str = "") -> list[Json]:
    """The answers to both, as one list without secrets. Raises ValueError for anything but `docker inspect`'s JSON."""
    found = _objects(container)
    for each in found:
        _without_secrets(each)
    return [*found, *(_plain_image(each) for each in (_objects(image) if image else []))]


def _objects(text: str) -> list[Json]:
    found = json.loads(text)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError("not what `docker inspect` prints")
    return found


def _plain_image(image: Json) -> Json:
    """As much of an image as the importer compares with, and no secret: what it would hide stays the container's."""
    config = image.get("Config") or {}
    own = [entry for entry in config.get("Env") or [] if variable_masked(str(entry)) == str(entry)]
    kept = ("Cmd", "Entrypoint", "WorkingDir", "User", "StopSignal", "Shell")
    told = {key: config[key] for key in kept if key in config}
    for key in ("Cmd", "Entrypoint"):
        if isinstance(told.get(key), list):
            told[key] = list(arguments_masked(told[key]))
    return {"Id": image.get("Id"), "RootFS": {}, "Config": {**told, "Env": own}}


def _without_secrets(found: Json) -> None:
    config = found.get("Config") or {}
    labels = config.get("Labels") or {}
    if config.get("Env"):
        ours = _named(labels.get(SPEC))
        config["Env"] = [_variable(str(entry), ours) for entry in config["Env"]]
    config["Labels"] = {name: text if name.startswith(READABLE) else "" for name, text in labels.items()}
    config.pop("Healthcheck", None)  # a shell line that may hold anything; there is no field for it
    _without_logs_and_drivers(found)
    for *above, key in ARGUMENTS:
        place = found.get(above[0]) if above else found
        if isinstance(place, dict) and isinstance(place.get(key), list):
            place[key] = list(arguments_masked(place[key]))


def _named(spec: object) -> frozenset[str] | None:
    """The variables that secrets fill in a container of ours, whatever they are called; None if its spec can't say."""
    if spec is None:
        return frozenset()
    try:
        return frozenset(str(variable) for variable, _ in json.loads(str(spec)).get("secrets", ()))
    except (ValueError, TypeError, AttributeError, RecursionError):  # anybody may write labels
        return None


def _variable(entry: str, ours: frozenset[str] | None) -> str:
    name = entry.partition("=")[0]
    return f"{name}={MASKED}" if ours is None or name in ours else variable_masked(entry)


def _without_logs_and_drivers(found: Json) -> None:
    """What the container has said, and the options of drivers, which hold logins; there is no field for either."""
    found.pop("State", None)
    host = found.get("HostConfig") or {}
    for key in ("Mounts", "Annotations"):  # the list of mounts outside of HostConfig says the same
        host.pop(key, None)
    log = host.get("LogConfig") or {}
    if log.get("Config"):
        log["Config"] = dict.fromkeys(log["Config"], "")

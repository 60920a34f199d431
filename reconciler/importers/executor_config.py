"""How sparkrun is told to start a container (`executor_config`), as fields of a recipe."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from reconciler.importers.accounts import Account, Json
from reconciler.importers.fields import Draft, mount

ULIMIT: Final = re.compile(r"([a-z]+)=(-?\d+)(?::(-?\d+))?")
_Taker = Callable[[str, Any, Draft, Account], None]


def executor(config: Json, draft: Draft, account: Account) -> None:
    """Take each key of `executor_config`; those nobody knows are left for the account to list."""
    if not config:
        account.consume("executor_config", why="there is none")
    for key, value in config.items():
        if value is None:
            account.consume("executor_config", key, why="there is none")
        elif key in _TAKERS:
            _TAKERS[key](key, value, draft, account)


def _as(field: str, change: Callable[[Any], Any] = lambda value: value) -> _Taker:
    def take(key: str, value: Any, draft: Draft, _account: Account) -> None:
        draft.put("executor_config", key, field=field, value=change(value))

    return take


def _same(words: Mapping[Any, str], field: str) -> _Taker:
    """Values that are what sparkkeep does anyway are consumed, others go into the field."""

    def take(key: str, value: Any, draft: Draft, account: Account) -> None:
        if value in words:
            account.consume("executor_config", key, why=words[value])
        else:
            draft.put("executor_config", key, field=field, value=value)

    return take


def _lost(why: str) -> _Taker:
    def take(key: str, _value: Any, _draft: Draft, account: Account) -> None:
        account.lose("executor_config", key, why=why)

    return take


def _consumed(why: str) -> _Taker:
    def take(key: str, _value: Any, _draft: Draft, account: Account) -> None:
        account.consume("executor_config", key, why=why)

    return take


def _devices(key: str, value: Any, draft: Draft, account: Account) -> None:
    for text in _list_of(value):
        outside, _, inside = str(text).partition(":")
        if inside not in {"", outside}:
            account.lose("executor_config", key, why=f"{text}: a device keeps its path inside the container")
        else:
            draft.add("executor_config", key, field="devices", value=outside)


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _each(field: str) -> _Taker:
    def take(key: str, value: Any, draft: Draft, _account: Account) -> None:
        for entry in _list_of(value):
            draft.add("executor_config", key, field=field, value=entry)

    return take


def ulimits(texts: list[Any], draft: Draft, account: Account, *key: str | int) -> None:
    """`memlock=-1:-1`: one number for both limits; two different ones have no field."""
    for text in texts:
        found = ULIMIT.fullmatch(str(text))
        if found is None or found[3] not in {None, found[2]}:
            account.lose(*key, why=f"{text} is not a limit such as memlock=-1")
        else:
            draft.add(*key, field="ulimits", value={found[1]: int(found[2])})


def _ulimits(key: str, value: Any, draft: Draft, account: Account) -> None:
    ulimits(_list_of(value), draft, account, "executor_config", key)


def _volumes(key: str, value: Any, draft: Draft, account: Account) -> None:
    for text in _list_of(value):
        made = mount(str(text))
        if made is None:
            account.lose("executor_config", key, why=f"{text} is not a mount such as /data:/data:ro")
        else:
            draft.add("executor_config", key, field="mounts", value=made)


def _entrypoint(key: str, value: Any, draft: Draft, _account: Account) -> None:
    draft.put("executor_config", key, field="entrypoint", value=[value] if value else [])


_TAKERS: Final[Mapping[str, _Taker]] = {
    "user": _as("user", str),
    "shm_size": _as("shm", lambda text: re.sub(r"(?i)(?<=[kmgt])b$", "", str(text))),
    "ipc": _same({"shareable": "private, as sparkkeep does", "private": "as sparkkeep does"}, "ipc"),
    "network": _as("network"),
    "privileged": _as("privileged"),
    "gpus": _as("gpus"),
    "security_opt": _each("securityOpt"),
    "cap_add": _each("capAdd"),
    "devices": _devices,
    "ulimit": _ulimits,
    "volumes": _volumes,
    "entrypoint": _entrypoint,
    "working_dir": _as("workdir"),
    "restart_policy": _as("restart"),
    "auto_remove": _consumed("sparkkeep removes its containers itself"),
    "memory_limit": _lost("there is no hard limit; `memory` states what it needs, and is checked before the start"),
    "labels": _lost("labels are sparkkeep's own"),
}

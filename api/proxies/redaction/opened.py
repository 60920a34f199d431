"""The gateway of one server with all that it needs: detector, map and services outside, opened and closed together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from api.proxies.redaction.clouds import Clouds
from api.proxies.redaction.detecting import Detecting, Pool
from api.proxies.redaction.gateway import Gateway
from api.proxies.redaction.sessions import Sessions
from api.proxies.redaction.vault import Vault, VaultRefused
from state.redaction import Detection, Redaction

log = logging.getLogger("sparkkeep.proxies")

SWEPT: Final = 300.0
"""Seconds between two looks for sessions that nobody used for longer than they are kept."""


@asynccontextmanager
async def opened(
    settings: Callable[[], Redaction],
    secret: Callable[[str], str],
    *,
    map_file: Path | None,
    at_home: Callable[[str], bool],
) -> AsyncIterator[Gateway]:
    """`map_file`: where what was masked is kept; None: in memory."""
    detector = _detector(lambda: settings().detection)
    vault, why = _vault(settings(), map_file) if detector is not None else (None, "")
    sweeping = asyncio.create_task(_sweep(vault), name="the map of masked words") if vault is not None else None
    try:
        yield Gateway(
            settings, detector, Sessions(vault, why), Clouds(lambda: settings().targets, secret), at_home=at_home
        )
    finally:
        if detector is not None:
            await detector.close()
        if sweeping is not None:
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
        if vault is not None:
            await asyncio.to_thread(vault.close)


def _detector(settings: Callable[[], Detection]) -> Detecting | None:
    """None where its packages are not installed."""
    try:
        from api.proxies.redaction.detect import DetectionSettings, PooledDetector  # noqa: PLC0415  # an extra
        from api.proxies.redaction.detect.extra import require  # noqa: PLC0415

        require(ner=False)
    except ImportError as missing:
        log.info("no redaction gateway: %s", missing)
        return None

    def made(said: Detection) -> Pool:
        wanted = said.model_dump(by_alias=False, exclude={"processes"}, exclude_none=True)
        return PooledDetector(DetectionSettings.model_validate(wanted), processes=said.processes)

    return Detecting(settings, made)


def _vault(settings: Redaction, map_file: Path | None) -> tuple[Vault | None, str]:
    """The map, or why there is none: then requests without a session's name are answered all the same."""
    try:
        return Vault.open(None if settings.memory_only else map_file, ttl=settings.session_lifetime), ""
    except VaultRefused as refused:
        log.error("redacted sessions can't be kept: %s", refused)  # noqa: TRY400  # it says what to do
        return None, str(refused)


async def _sweep(vault: Vault) -> None:
    while True:
        await asyncio.sleep(SWEPT)
        try:
            await vault.sweep(time.time())
        except VaultRefused as refused:
            log.warning("what was masked long ago could not be deleted: %s", refused)

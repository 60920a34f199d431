"""The plain page at `/`: files as they lie in `api/static`, named one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse

router = APIRouter(include_in_schema=False)
FOLDER: Final = Path(__file__).resolve().parent.parent / "static"
FRESH: Final = {"cache-control": "no-cache"}


@router.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(FOLDER / "index.html", headers=FRESH)


@router.get("/page.js")
async def script() -> FileResponse:
    """What fills it."""
    return FileResponse(FOLDER / "page.js", media_type="text/javascript", headers=FRESH)


@router.get("/page.css")
async def style() -> FileResponse:
    """How it looks."""
    return FileResponse(FOLDER / "page.css", media_type="text/css", headers=FRESH)

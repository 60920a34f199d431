"""The dashboard at `/`, and its files below `/ui/`."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header
from starlette.responses import Response

from api.errors import no_such
from api.page import FOR_GOOD, FRESH, File, Page

router = APIRouter(include_in_schema=False)
PAGE: Final = Page.read()
Accepts = Annotated[str, Header(alias="accept-encoding")]


@router.get("/")
async def index(accepts: Accepts = "") -> Response:
    """The page."""
    return _answer(PAGE.index, accepts, FRESH)


@router.get("/ui/{version}/{path:path}")
async def file(version: str, path: str, accepts: Accepts = "") -> Response:
    """A file of the page."""
    if path not in PAGE.files:
        raise no_such("file", path, PAGE.files)
    return _answer(PAGE.files[path], accepts, FOR_GOOD if version == PAGE.version else FRESH)


def _answer(found: File, accepts: str, keep: str) -> Response:
    headers = {"cache-control": keep, "vary": "accept-encoding"}
    if "gzip" in accepts:
        return Response(found.packed, media_type=found.media_type, headers={**headers, "content-encoding": "gzip"})
    return Response(found.plain, media_type=found.media_type, headers=headers)

"""The list of recordings: filters and pages in the address, so that a search can be kept and sent."""

from typing import Annotated, Any, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from api.web.desk import AtDesk, SignedIn
from api.web.rows import clip_rows
from vault.model import CaseId, Condition, MediaType

router = APIRouter()
PAGE_ROWS = 50


@router.get("/clips", response_class=HTMLResponse)
def clip_list(
    request: Request,
    desk: AtDesk,
    session: SignedIn,
    *,
    text: Annotated[str, Query(max_length=200)] = "",
    media: Annotated[str, Query(max_length=20)] = "",
    condition: Annotated[str, Query(max_length=20)] = "",
    case: Annotated[str, Query(max_length=64)] = "",
    unlinked: Annotated[str, Query(max_length=1)] = "",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> HTMLResponse:
    """Show one page of the recordings that fit."""
    shown = {
        "text": text.strip(),
        "media": media if media in get_args(MediaType) else "",
        "condition": condition if condition in get_args(Condition) else "",
        "case": case,
        "unlinked": "1" if unlinked else "",
    }
    wanted: dict[str, Any] = {
        "text": shown["text"],
        "media": shown["media"] or None,
        "condition": shown["condition"] or None,
        "case": CaseId(case) if case else None,
        "unlinked": bool(unlinked),
    }
    catalogue = desk.vault.catalogue
    total = catalogue.count_clips(**wanted)
    offset = (page - 1) * PAGE_ROWS
    clips = catalogue.clips(**wanted, limit=PAGE_ROWS, offset=offset)
    return desk.render(
        request,
        "clips.html",
        session=session,
        rows=clip_rows(desk.vault, clips),
        total=total,
        first=offset + 1,
        filters=shown,
        filtered=any(shown.values()),
        cases=catalogue.cases(),
        totals=catalogue.totals(),
        previous=_page(shown, page - 1) if page > 1 else "",
        next=_page(shown, page + 1) if offset + len(clips) < total else "",
    )


def _page(shown: dict[str, str], page: int) -> str:
    return urlencode({**{key: value for key, value in shown.items() if value}, "page": page})

"""Cases: the list with the form for a new one, and one case with its recordings."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from api.web.desk import TEXT_MAX, AtDesk, SignedIn, language_of, required
from api.web.rows import HISTORY_LINES, Narrator, clip_rows
from vault.model import CaseId, CaseRecord

router = APIRouter()
CATEGORIES = ("inspection", "penalty", "coercion", "licence", "collection", "payment")
PAGE_ROWS = 100
UNLINKED_SHOWN = 200  # recordings offered in the form of a case page; the list finds the others


@router.get("/cases", response_class=HTMLResponse)
def case_list(request: Request, desk: AtDesk, session: SignedIn) -> HTMLResponse:
    """Show all cases."""
    t = language_of(request)
    catalogue = desk.vault.catalogue
    rows = [
        {
            "case": case,
            "category": t.known(f"category.{case.category}", case.category),
            "clips": catalogue.count_clips(case=case.id),
        }
        for case in catalogue.cases()
    ]
    return desk.render(request, "cases.html", session=session, cases=rows, categories=CATEGORIES)


@router.post("/cases")
def open_case(
    desk: AtDesk,
    session: SignedIn,
    *,
    number: Annotated[str, Form(max_length=1000)],
    title: Annotated[str, Form(max_length=1000)],
    target: Annotated[str, Form(max_length=TEXT_MAX)] = "",
    category: Annotated[str, Form(max_length=50)] = "",
) -> RedirectResponse:
    """Open a case record."""
    case = desk.vault.open_case(
        session.actor,
        number=required("number", number),
        title=required("title", title),
        target=target.strip(),
        category=category if category in CATEGORIES else "",
    )
    return RedirectResponse(f"/cases/{case.id}", status_code=303)


@router.get("/cases/{case_id}", response_class=HTMLResponse)
def case_page(
    request: Request,
    desk: AtDesk,
    session: SignedIn,
    case_id: str,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> HTMLResponse:
    """Show one case, a page of its recordings, and its history."""
    t = language_of(request)
    case = _case(desk, case_id)
    catalogue = desk.vault.catalogue
    total = catalogue.count_clips(case=case.id)
    offset = (page - 1) * PAGE_ROWS
    clips = catalogue.clips(case=case.id, limit=PAGE_ROWS, offset=offset)
    return desk.render(
        request,
        "case.html",
        session=session,
        case=case,
        category=t.known(f"category.{case.category}", case.category) if case.category else "",
        rows=clip_rows(desk.vault, clips, case_id=case.id),
        total=total,
        first=offset + 1,
        previous=page - 1 if page > 1 else None,
        next=page + 1 if offset + len(clips) < total else None,
        unlinked=catalogue.clips(unlinked=True, limit=UNLINKED_SHOWN),
        history=Narrator(desk.vault, t).history(desk.vault.history(case.id, limit=HISTORY_LINES)),
    )


@router.post("/cases/{case_id}/link")
def link_here(
    desk: AtDesk,
    session: SignedIn,
    case_id: str,
    clip: Annotated[str, Form(max_length=80)],
    reason: Annotated[str, Form(max_length=TEXT_MAX)] = "",
) -> RedirectResponse:
    """Tie a recording to this case."""
    case = _case(desk, case_id)
    desk.vault.link(session.actor, desk.vault.catalogue.find_clip(clip).id, case.id, reason.strip())
    return RedirectResponse(f"/cases/{case.id}", status_code=303)


def _case(desk: AtDesk, case_id: str) -> CaseRecord:
    return desk.vault.catalogue.case(CaseId(case_id))

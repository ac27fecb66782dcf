"""Signing in and out, and the two choices of a sitting: its language and its purpose."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.web.desk import SESSION_COOKIE, AtDesk, MaybeSignedIn, SignedIn, back_to
from api.web.i18n import COOKIE, LANGUAGES
from api.web.purposes import chosen
from api.web.refusals import FormError

router = APIRouter()
YEAR_S = 365 * 24 * 3600


@router.get("/sign-in")
def sign_in(request: Request, desk: AtDesk, session: MaybeSignedIn, token: str = "") -> Response:
    """Use up a one-time link and open a session, or say how to get a link."""
    if not token:
        return desk.render(request, "sign_in.html", session=session, reason="needed", status=200)
    if "prefetch" in request.headers.get("sec-purpose", ""):
        return Response(status_code=503)  # a browser guessing ahead must not use the link up
    found = desk.sessions.consume_link(token)
    if found is None:
        return desk.render(request, "sign_in.html", session=session, reason="expired", status=403)
    account, role = found
    secret = desk.sessions.open(account, desk.vault.actor(account, role=role))
    answer = RedirectResponse("/clips", status_code=303)
    answer.set_cookie(
        SESSION_COOKIE, secret, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
    )
    return answer


@router.post("/sign-out")
def sign_out(desk: AtDesk, session: SignedIn) -> RedirectResponse:
    """End the session; every view opened in it ends with it."""
    desk.sessions.end(session)
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(SESSION_COOKIE, path="/")
    return answer


@router.post("/language")
def set_language(
    request: Request, language: Annotated[str, Form(max_length=10)], back: Annotated[str, Form(max_length=2000)] = "/"
) -> RedirectResponse:
    """Remember the language of the pages in this browser."""
    if language not in LANGUAGES:
        raise FormError(f"language: one of {', '.join(LANGUAGES)}")
    answer = back_to(back)
    answer.set_cookie(
        COOKIE, language, max_age=YEAR_S, httponly=True, samesite="lax", secure=request.url.scheme == "https", path="/"
    )
    return answer


@router.post("/purpose")
def set_purpose(
    desk: AtDesk,
    session: SignedIn,
    kind: Annotated[str, Form(max_length=20)],
    words: Annotated[str, Form(max_length=500)] = "",
    back: Annotated[str, Form(max_length=2000)] = "/clips",
) -> RedirectResponse:
    """Say why the person looks from now on. A clip's page then opens a new view, with the new purpose."""
    desk.sessions.set_purpose(session, chosen(kind, words))
    return back_to(back)


@router.get("/", response_class=HTMLResponse)
def home(_session: SignedIn) -> RedirectResponse:
    """Start at the recordings."""
    return RedirectResponse("/clips", status_code=303)

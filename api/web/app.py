"""The application: pages, their guard, and how every error becomes an answer."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api.config import Settings
from api.web.desk import HERE, Desk, get_session, language_of, make_templates, version_of
from api.web.http import Guard, problem, secure
from api.web.i18n import Translator
from api.web.media import MediaDesk
from api.web.pages import about, cases, clip, clips, log, sitting, views
from api.web.refusals import FormError, InternalError, PageNotFoundError, SignInRequiredError, status_of
from api.web.sessions import Limits, Sessions, utc_now
from vault.errors import IntegrityError, LiuhenError
from vault.vault import Vault

LOOPBACK_NAMES = ("localhost",)
ROUTERS = tuple(page.router for page in (sitting, clips, clip, views, cases, log, about))


def create_app(vault: Vault, settings: Settings, *, now: Callable[[], datetime] = utc_now) -> FastAPI:
    """Make the application over an open vault; `now` is the clock of its sessions."""
    limits = Limits(
        idle=timedelta(minutes=settings.session_idle_minutes), absolute=timedelta(hours=settings.session_hours)
    )
    version = version_of(HERE / "static")
    media = MediaDesk(vault, settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(media.close)

    app = FastAPI(title="Liuhen", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.desk = Desk(
        vault=vault,
        sessions=Sessions(vault.catalogue, limits, now),
        media=media,
        templates=make_templates(),
        static_version=version,
    )
    for router in ROUTERS:
        app.include_router(router)
    app.mount(f"/static/{version}", EverLasting(directory=HERE / "static"), name="static")
    app.add_exception_handler(LiuhenError, _on_liuhen_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)
    app.add_middleware(Guard, hosts=allowed_hosts(settings.host))
    return app


def allowed_hosts(listening: str) -> tuple[str, ...]:
    """Return the names a browser may call us by: loopback's, and the address we were told to listen on."""
    everywhere = ("*",) if listening in ("0.0.0.0", "::") else ()  # noqa: S104 - compared, not bound
    return (*LOOPBACK_NAMES, listening.lower(), *everywhere)


class EverLasting(StaticFiles):
    """Static files under an address that changes with their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """Let browsers keep the file."""
        answer = super().file_response(*args, **kwargs)  # type: ignore[arg-type] # handed on as they came
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return answer


def _on_liuhen_error(request: Request, err: Exception) -> Response:
    assert isinstance(err, LiuhenError)  # noqa: S101 - registered for exactly this family
    return answer_error(request, err)


def _on_invalid(request: Request, err: Exception) -> Response:
    assert isinstance(err, RequestValidationError)  # noqa: S101 - registered for exactly this class
    named = ", ".join(str(fault["loc"][-1]) for fault in err.errors())
    return answer_error(request, FormError(f"missing or malformed: {named}"))


def _on_http_exception(request: Request, err: Exception) -> Response:
    assert isinstance(err, HTTPException)  # noqa: S101 - registered for exactly this class
    if err.status_code == 404:
        return answer_error(request, PageNotFoundError(f"no page at {request.url.path[:200]}"))
    return problem(status=err.status_code, code=f"http-{err.status_code}", title=str(err.detail), detail="")


def _on_bug(request: Request, err: Exception) -> Response:
    """Answer for a bug; the server writes the stack to its own output afterwards."""
    refusal = answer_error(request, InternalError(type(err).__name__))
    secure(refusal.headers)  # this answer is made outside the guard
    return refusal


def answer_error(request: Request, err: LiuhenError) -> Response:
    """Return an error as a page for a person, as problem details for a program; never a stack."""
    t = language_of(request)
    title, remedy = _in_words(err, t)
    status = status_of(err)
    if "text/html" not in request.headers.get("accept", ""):
        return problem(
            status=status, code=type(err).__name__, title=title, detail=str(err), remedy=remedy, exit_code=err.exit_code
        )
    desk: Desk = request.app.state.desk
    if isinstance(err, SignInRequiredError):
        return _sign_in_page(request, desk)
    return desk.render(
        request,
        "error.html",
        session=get_session(request, desk),
        status=status,
        http_status=status,
        title=title,
        remedy=remedy,
        detail=str(err),
        code=type(err).__name__,
        integrity=isinstance(err, IntegrityError),
    )


def _in_words(err: LiuhenError, t: Translator) -> tuple[str, str]:
    """Return title and remedy in the reader's language, of the error or the nearest family it belongs to."""
    for kind in type(err).__mro__:
        if f"error.{kind.__name__}.title" in t.messages:
            return t(f"error.{kind.__name__}.title"), t(f"error.{kind.__name__}.remedy")
    return t("error.title"), err.remedy


def _sign_in_page(request: Request, desk: Desk) -> HTMLResponse:
    """Say how to sign in. A visit from elsewhere (a link in a mail) comes without the strict cookie: knock again.

    The second request starts from our own page, so the browser brings the cookie; a person without one then sees the
    sign-in page, because the second request is no longer cross-site.
    """
    if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
        return desk.render(request, "continue.html", session=None)
    return desk.render(request, "sign_in.html", session=None, status=401, reason="needed")

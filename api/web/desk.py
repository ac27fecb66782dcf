"""What every page works with: the vault, the sessions, the media, the templates and the words.

One `Desk` a process, made by `create_app`. Handlers get it, and the person's session, by FastAPI's dependencies: a
route without `SignedIn` in its signature answers to nobody in particular, and a test lists those few.
"""

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api import present
from api.web.i18n import COOKIE, LANGUAGES, Translator, choose, translator
from api.web.purposes import OTHER, PURPOSES, in_words, kind_of
from api.web.refusals import FormError, SignInRequiredError
from api.web.rows import HISTORY_LINES
from api.web.sessions import Session, Sessions
from vault.errors import NotFoundError
from vault.model import CaseId
from vault.vault import Vault

if TYPE_CHECKING:
    from api.web.media import MediaDesk

HERE = Path(__file__).parent
SESSION_COOKIE = "liuhen_session"
TEXT_MAX = 300  # characters of one field of a form


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The shared parts of the pages."""

    vault: Vault
    sessions: Sessions
    media: "MediaDesk"
    templates: Environment
    static_version: str

    def render(
        self, request: Request, template: str, *, session: Session | None, status: int = 200, **context: object
    ) -> HTMLResponse:
        """Render a page in the person's language."""
        t = language_of(request)
        page = self.templates.get_template(template).render(
            t=t,
            session=session,
            languages=LANGUAGES,
            here=_here(request),
            path=request.url.path,
            static=f"/static/{self.static_version}",
            history_lines=HISTORY_LINES,
            purposes=[*PURPOSES, OTHER],
            purpose_kind=kind_of(session.purpose) if session else "",
            purpose_words=in_words(session.purpose, t) if session else "",
            **context,
        )
        return HTMLResponse(page, status_code=status, headers={"Content-Language": t.language, "Vary": "Cookie"})

    def case_number(self, case: str) -> str:
        """Return a case's number for people, or the beginning of its id when it is not to be found."""
        try:
            return self.vault.catalogue.case(CaseId(case)).number
        except NotFoundError:
            return case[:8]


def get_desk(request: Request) -> Desk:
    """Return the process's desk."""
    desk: Desk = request.app.state.desk
    return desk


def get_session(request: Request, desk: Annotated[Desk, Depends(get_desk)]) -> Session | None:
    """Return the person's live session, if any."""
    token = request.cookies.get(SESSION_COOKIE, "")
    return desk.sessions.find(token) if token else None


def signed_in(session: Annotated[Session | None, Depends(get_session)]) -> Session:
    """Return the person's live session; raises SignInRequiredError."""
    if session is None:
        raise SignInRequiredError("no live session")
    return session


AtDesk = Annotated[Desk, Depends(get_desk)]
MaybeSignedIn = Annotated[Session | None, Depends(get_session)]
SignedIn = Annotated[Session, Depends(signed_in)]


def language_of(request: Request) -> Translator:
    """Return the translator for a request."""
    return translator(choose(request.cookies.get(COOKIE), request.headers.get("accept-language", "")))


def back_to(path: str) -> RedirectResponse:
    """Return to a page of ours after a form; anything that is not a plain local path goes to the recordings."""
    parts = urlsplit(path)
    local = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return RedirectResponse(path if local and path.isprintable() else "/clips", status_code=303)


def required(name: str, text: str) -> str:
    """Return a form's text on one line; raises FormError when it is empty or far too long."""
    text = " ".join(text.split())
    if not text or len(text) > TEXT_MAX:
        raise FormError(f"{name}: between 1 and {TEXT_MAX} characters, not {len(text)}")
    return text


def make_templates() -> Environment:
    """Return the template environment: everything escaped, a misspelt name is an error."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        printable=present.printable,
        size=present.size,
        duration=present.duration,
        moment=present.moment,
        short=present.short,
        grouped=present.grouped,
        query=lambda values: urlencode({key: value for key, value in values.items() if value}),
    )
    environment.globals.update(picture=present.picture, start=present.start, unique=lambda: secrets.token_hex(4))
    return environment


def version_of(directory: Path) -> str:
    """Return a short digest of all static files: the address changes when any of them does, so they cache for ever."""
    state = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            state.update(path.name.encode() + b"\0" + path.read_bytes())
    return state.hexdigest()[:12]


def _here(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")

"""One recording: seal, provenance, contents, cases, history. No byte of the recording itself (that is pages/views.py)."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from api import damage, present
from api.web import seals
from api.web.desk import TEXT_MAX, AtDesk, Desk, SignedIn, back_to, language_of, required
from api.web.i18n import Translator
from api.web.rows import HISTORY_LINES, Line, Narrator
from vault.errors import IntegrityError
from vault.model import CaseId, Clip

router = APIRouter()


@router.get("/clips/{clip}")
def clip_page(request: Request, desk: AtDesk, session: SignedIn, clip: str) -> Response:
    """Show a recording's page; a shortened digest is sent on to the full address."""
    t = language_of(request)
    catalogue = desk.vault.catalogue
    found = catalogue.find_clip(clip)
    if clip != found.id.hex:
        return RedirectResponse(f"/clips/{found.id.hex}", status_code=303)
    labels = {device.id: device.label for device in catalogue.devices()}
    cases = {case.id: case for case in catalogue.cases()}
    links = [link for link in catalogue.links(clip=found.id) if link.case in cases]
    linked = {link.case for link in links}
    seal = seals.check(desk.vault, found)
    history, history_fault = _history(desk, found, t)
    return desk.render(
        request,
        "clip.html",
        session=session,
        clip=found,
        seal=seal,
        commands=_commands(found),
        acquisitions=[
            {
                "at": item.acquired_at,
                "index": item.index,
                "device": labels.get(item.device, item.device),
                "path": item.path,
                "modified_at": item.modified_at,
            }
            for item in catalogue.acquisitions(found.id)
        ],
        contents=present.contents(found, t),
        damage=damage.in_words(str(found.facts.get("reason", "")), t.language) if found.condition == "damaged" else "",
        links=[
            {"case": cases[link.case], "at": link.linked_at, "index": link.index, "reason": link.reason}
            for link in links
        ],
        linkable=[case for case in cases.values() if case.id not in linked],
        history=history,
        history_fault=history_fault,
        raw=present.raw(found.facts),
    )


@router.get("/clips/{clip}/seal.tlog-proof")
def seal_proof(desk: AtDesk, _session: SignedIn, clip: str) -> Response:
    """Return the tlog-proof of the entry that sealed this recording."""
    found = desk.vault.catalogue.find_clip(clip)
    return Response(
        desk.vault.proof(found.sealed_index),
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": attachment(f"{found.id.hex[:16]}.tlog-proof")},
    )


@router.post("/clips/{clip}/link")
def link(
    desk: AtDesk,
    session: SignedIn,
    clip: str,
    *,
    case: Annotated[str, Form(max_length=64)],
    reason: Annotated[str, Form(max_length=TEXT_MAX)] = "",
    back: Annotated[str, Form(max_length=2000)] = "/clips",
) -> RedirectResponse:
    """Tie a recording to a case."""
    found = desk.vault.catalogue.find_clip(clip)
    desk.vault.link(session.actor, found.id, CaseId(required("case", case)), reason.strip())
    return back_to(back)


@router.post("/clips/{clip}/unlink")
def unlink(
    desk: AtDesk,
    session: SignedIn,
    clip: str,
    *,
    case: Annotated[str, Form(max_length=64)],
    reason: Annotated[str, Form(max_length=1000)],
    back: Annotated[str, Form(max_length=2000)] = "/clips",
) -> RedirectResponse:
    """Untie a recording from a case; the reason stays on record."""
    found = desk.vault.catalogue.find_clip(clip)
    desk.vault.unlink(session.actor, found.id, CaseId(case), required("reason", reason))
    return back_to(back)


def _history(desk: Desk, clip: Clip, t: Translator) -> tuple[list[Line], str]:
    """Return the clip's history, or what is wrong with it: a changed log must not hide the rest of the page."""
    try:
        return Narrator(desk.vault, t).history(desk.vault.history(str(clip.id), limit=HISTORY_LINES)), ""
    except IntegrityError as err:
        return [], str(err)


def attachment(name: str) -> str:
    """Return a Content-Disposition for a download under any file name (RFC 6266, RFC 8187)."""
    name = present.printable(name).replace("/", "_")
    plain = "".join(c if (c.isascii() and c.isalnum()) or c in "-_. " else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _commands(clip: Clip) -> list[tuple[str, str]]:
    short = clip.id.hex[:16]
    return [
        ("get", f"liuhen clip get {short} -o original"),
        ("hash", "sha256sum original"),
        ("proof", f"liuhen clip verify {short}"),
        ("leaf", f"(printf '\\0'; cat {clip.sealed_index}.json) | sha256sum"),
    ]

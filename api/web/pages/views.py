"""Viewing a recording (I6): a view is logged first, and only under it, to its own session, are bytes served.

Every route below /views/{view} goes through `Viewing`: there is no other way to a byte of evidence.
"""

# ruff: noqa: FAST003 - the path parameter `view` is taken by the dependency `Viewing` of every route here

from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from api import present
from api.web.desk import AtDesk, Desk, SignedIn, language_of
from api.web.http import EVIDENCE_SECURITY_POLICY
from api.web.i18n import Translator
from api.web.media import Servable, Showing, answer
from api.web.pages.clip import attachment
from api.web.purposes import in_words
from api.web.refusals import NotPlayableError, ViewRefusedError
from transcode.virtual.media import VirtualMedia
from vault.errors import IntegrityError, StorageError
from vault.model import Clip

if TYPE_CHECKING:
    from api.web.sessions import Grant, Session

router = APIRouter()
HLS_TYPE = "application/vnd.apple.mpegurl"


class OpenView:
    """A view that this session may use, with its clip."""

    def __init__(self, desk: AtDesk, session: SignedIn, view: str) -> None:
        grant = desk.sessions.find_grant(session, view)
        if grant is None:
            desk.sessions.count_refusal(session, view)
            raise ViewRefusedError(f"view {view[:40]} is not open in this session")
        self.desk: Desk = desk
        self.session: Session = session
        self.grant: Grant = grant
        self.clip: Clip = desk.vault.catalogue.clip(grant.clip)

    def media(self) -> VirtualMedia:
        """Open what the player reads; bad bytes found on the way are recorded."""
        try:
            return self.desk.media.media(self.clip)
        except (IntegrityError, StorageError) as err:
            self.on_fault(err)
            raise

    def on_fault(self, err: Exception) -> None:
        """Record that the clip's bytes failed while they were served."""
        self.desk.media.report_fault(self.clip.id, err, self.session.actor)

    def serve(self, request: Request, item: Servable, **headers: str) -> Response:
        """Answer for a range of an item."""
        return answer(request, item, on_fault=self.on_fault, headers=headers)


Viewing = Annotated[OpenView, Depends()]


@router.post("/clips/{clip}/views")
def open_view(request: Request, desk: AtDesk, session: SignedIn, clip: str) -> JSONResponse:
    """Log that this person looks at this clip for their purpose; then tell where its bytes are.

    Order: clip.viewed durable in the signed log -> grant -> answer. Dead or failed before the grant: no byte is served.
    """
    found = desk.vault.catalogue.find_clip(clip)
    address = request.client.host if request.client else ""
    view = desk.vault.open_view(session.actor, found.id, session.purpose, address=address)
    desk.sessions.grant(session, view=view.view, clip=found.id, purpose=view.purpose, entry_index=view.index)
    t = language_of(request)
    line = {
        "index": view.index,
        "at": present.moment(view.opened_at),
        "who": present.printable(session.actor.name),
        "words": t("entry.clip.viewed", purpose=present.printable(in_words(view.purpose, t))),
    }
    opened = {"view": view.view, "index": view.index, "purpose": view.purpose, "line": line}
    return JSONResponse({**opened, **_describe(desk, found, view.view, t)}, status_code=201)


@router.get("/views/{view}/status")
def view_status(request: Request, viewing: Viewing) -> JSONResponse:
    """Tell how far the playable copy is, and whether the clip's bytes were found bad."""
    return JSONResponse(_describe(viewing.desk, viewing.clip, viewing.grant.view, language_of(request)))


@router.post("/views/{view}/retry")
def retry_copy(request: Request, viewing: Viewing) -> JSONResponse:
    """Try once more to make a playable copy that failed."""
    viewing.desk.media.retry(viewing.clip)
    return JSONResponse(_describe(viewing.desk, viewing.clip, viewing.grant.view, language_of(request)))


@router.api_route("/views/{view}/media", methods=["GET", "HEAD"])
def media(request: Request, viewing: Viewing) -> Response:
    """Serve ranges of what the player plays: the original as a virtual file, or its playable copy."""
    return viewing.serve(request, viewing.media())


@router.get("/views/{view}/media.m3u8")
def playlist(viewing: Viewing) -> Response:
    """Return the playlist over byte ranges of the same file, for players that want HLS."""
    return Response(viewing.media().hls_playlist("media"), media_type=HLS_TYPE)


@router.get("/views/{view}/frames")
def frames(viewing: Viewing) -> JSONResponse:
    """Return when each picture is shown, for exact stepping."""
    times = viewing.media().frame_times()
    gaps = (after - before for before, after in pairwise((*times.ticks, times.end)))
    runs = [(gap, sum(1 for _ in same)) for gap, same in groupby(gaps)]  # an even clip of hours is one run
    start = times.ticks[0] if times.ticks else 0
    return JSONResponse({"timescale": times.timescale, "start": start, "runs": runs})


@router.api_route("/views/{view}/picture", methods=["GET", "HEAD"])
def picture(request: Request, viewing: Viewing) -> Response:
    """Serve a sealed picture."""
    return _whole(request, viewing, "image")


@router.api_route("/views/{view}/document", methods=["GET", "HEAD"])
def document(request: Request, viewing: Viewing) -> Response:
    """Serve a sealed document that browsers show without running anything."""
    return _whole(request, viewing, "document")


@router.post("/views/{view}/export")
def export(viewing: Viewing) -> RedirectResponse:
    """Log that the original is handed out; only then does its address answer."""
    receipts = viewing.desk.vault.record_export(
        viewing.session.actor, [viewing.clip.id], "original", viewing.grant.purpose
    )
    viewing.desk.sessions.note_export(viewing.session, viewing.grant.view, receipts[0].index)
    return RedirectResponse(f"/views/{viewing.grant.view}/original", status_code=303)


@router.api_route("/views/{view}/original", methods=["GET", "HEAD"])
def original(request: Request, viewing: Viewing) -> Response:
    """Hand out the sealed original, byte for byte, after its export was logged."""
    if viewing.grant.export_index is None:
        raise ViewRefusedError("the original was not asked for: its export is not in the log")
    item = viewing.desk.media.original(viewing.clip, "application/octet-stream")
    name = viewing.clip.name or viewing.clip.id.hex
    return viewing.serve(request, item, **{"Content-Disposition": attachment(name)})


def _whole(request: Request, viewing: OpenView, kind: str) -> Response:
    showing = viewing.desk.media.showing(viewing.clip)
    if showing.kind != kind or not showing.mime:
        raise NotPlayableError(f"clip {viewing.clip.id} is not a {kind} that browsers show")
    item = viewing.desk.media.original(viewing.clip, showing.mime)
    return viewing.serve(request, item, **{"Content-Security-Policy": EVIDENCE_SECURITY_POLICY})


def _describe(desk: Desk, clip: Clip, view: str, t: Translator) -> dict[str, Any]:
    """Return everything the player needs to know now."""
    showing = desk.media.showing(clip)
    base = f"/views/{view}"
    return {
        "kind": showing.kind,
        "state": showing.state,
        "from_original": showing.from_original,
        "sources": _sources(showing, base),
        "reason": showing.reason,
        "reason_text": _reason(showing, clip, t),
        "notes": [t.known(f"note.{key}", text) for key, text in showing.notes],
        "progress": showing.progress,
        "eta_s": showing.eta_s,
        "error": present.printable(showing.error),
        "fault": desk.media.fault(clip.id),
        "frames_url": f"{base}/frames" if showing.state == "ready" and showing.kind == "video" else "",
        "document_url": f"{base}/document" if showing.kind == "document" and showing.mime else "",
        "status_url": f"{base}/status",
        "retry_url": f"{base}/retry" if showing.state == "failed" else "",
        "export_url": f"{base}/export",
    }


def _reason(showing: Showing, clip: Clip, t: Translator) -> str:
    """Say why a copy is needed, or why nothing can be shown, with the codec it is about."""
    if not showing.reason:
        return ""
    kind = "audio" if showing.reason in ("codec.audio", "sound.converted") else "video"
    codecs = [present.codec(stream.get("codec", "")) for stream in present.streams(clip, kind)]
    words = t.known(f"reason.{showing.reason}", showing.reason_text or showing.reason)
    return words.replace("{codec}", codecs[0] if codecs else t("app.unknown"))


def _sources(showing: Showing, base: str) -> list[dict[str, str]]:
    if showing.state != "ready":
        return []
    if showing.kind == "image":
        return [{"src": f"{base}/picture", "type": showing.mime}] if showing.mime else []
    return [{"src": f"{base}/media", "type": showing.mime}, {"src": f"{base}/media.m3u8", "type": HLS_TYPE}]

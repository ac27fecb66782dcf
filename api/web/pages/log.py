"""The log: its latest entries in words, its checkpoint, and every entry and proof as files."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from api.web.desk import AtDesk, SignedIn, language_of
from api.web.rows import Narrator
from vault.errors import NotFoundError

router = APIRouter()
PAGE_LINES = 50


@router.get("/log", response_class=HTMLResponse)
def log_page(
    request: Request, desk: AtDesk, session: SignedIn, before: Annotated[int | None, Query(ge=0, lt=1 << 53)] = None
) -> HTMLResponse:
    """Show entries below an index, newest first, and the checkpoint they were checked against."""
    checkpoint = desk.vault.reader.checkpoint()
    end = checkpoint.size if before is None else min(before, checkpoint.size)
    return desk.render(
        request,
        "log.html",
        session=session,
        lines=Narrator(desk.vault, language_of(request)).latest(end, PAGE_LINES),
        checkpoint=checkpoint,
        vkey=vkey_of(desk),
        older=end - PAGE_LINES if end > PAGE_LINES else None,
        newer=min(end + PAGE_LINES, checkpoint.size) if end < checkpoint.size else None,
    )


@router.get("/log/checkpoint")
def checkpoint_file(desk: AtDesk, _session: SignedIn) -> Response:
    """Return the signed checkpoint as it stands on the disk, after its signature was checked."""
    return Response(desk.vault.reader.checkpoint().note, media_type="text/plain; charset=utf-8")


@router.get("/log/vkey")
def vkey_file(desk: AtDesk, _session: SignedIn) -> Response:
    """Return the log's verifier key."""
    return Response(vkey_of(desk) + "\n", media_type="text/plain; charset=utf-8")


@router.get("/log/entries/{index}.json")
def entry_file(desk: AtDesk, _session: SignedIn, index: int) -> Response:
    """Return an entry's stored bytes: exactly what the leaf hashes."""
    checkpoint = desk.vault.reader.checkpoint()
    _require(index, checkpoint.size)
    return Response(desk.vault.reader.entry(index, checkpoint), media_type="application/json")


@router.get("/log/entries/{index}.tlog-proof")
def proof_file(desk: AtDesk, _session: SignedIn, index: int) -> Response:
    """Return the tlog-proof of an entry."""
    _require(index, desk.vault.reader.checkpoint().size)
    return Response(
        desk.vault.proof(index),
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="entry-{index}.tlog-proof"'},
    )


def vkey_of(desk: AtDesk) -> str:
    """Return the log's verifier key as it stands beside the log."""
    return (desk.vault.root / "log" / "vkey").read_text(encoding="utf-8").strip()


def _require(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise NotFoundError(f"log entry {index} is not in the log of {size} entries")

"""How to verify, and the two health addresses for programs."""

import shutil

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from api.web.desk import AtDesk, SignedIn
from api.web.pages.log import vkey_of
from vault.errors import LiuhenError

router = APIRouter()
FREE_BYTES_MIN = 1 << 28  # below a quarter of a GiB the next dock will fail
CLAIMS = (
    ("bytes", ("liuhen clip get CLIP -o original", "sha256sum original")),
    ("log", ("liuhen clip proof CLIP -o seal.tlog-proof", "liuhen log checkpoint")),
    ("all", ("liuhen verify",)),
    ("offline", ("liuhen export CASE -o case.zip", "python3 verify.py")),
    ("view", ()),
)


@router.get("/about", response_class=HTMLResponse)
def about(request: Request, desk: AtDesk, session: SignedIn) -> HTMLResponse:
    """Say what is claimed and how anyone can check it."""
    return desk.render(
        request,
        "about.html",
        session=session,
        claims=CLAIMS,
        checkpoint=desk.vault.reader.checkpoint(),
        vkey=vkey_of(desk),
    )


@router.get("/favicon.ico", include_in_schema=False)
def favicon(desk: AtDesk) -> RedirectResponse:
    """Send a browser that asks by habit to our mark."""
    return RedirectResponse(f"/static/{desk.static_version}/mark.svg")


@router.get("/healthz")
def healthz() -> JSONResponse:
    """Tell that the process answers."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
def readyz(desk: AtDesk) -> JSONResponse:
    """Tell whether the vault can be used: catalogue readable, checkpoint valid, room on the disk. No details."""
    checks = {"catalogue": False, "checkpoint": False, "disk": False}
    try:
        checks["catalogue"] = desk.vault.catalogue.projected_size() >= 0
        checks["checkpoint"] = desk.vault.reader.checkpoint().size > 0
    except LiuhenError:
        pass
    checks["disk"] = shutil.disk_usage(desk.vault.root).free >= FREE_BYTES_MIN
    ready = all(checks.values())
    return JSONResponse({"status": "ready" if ready else "not ready", **checks}, status_code=200 if ready else 503)

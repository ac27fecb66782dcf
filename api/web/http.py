"""What every answer and every request must satisfy, whatever page it belongs to.

One ASGI layer around the application: the Host header must name us (a page elsewhere cannot reach a loopback service by
rebinding its own name), a state-changing request must come from our own pages (Fetch Metadata, else the Origin), a body
has a limit, and every answer carries the security headers. No session, no vault: pure HTTP.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX = 1 << 18  # forms and small JSON only; footage never comes in through the pages
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; object-src 'none'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
# A sealed document or picture opened by itself may run nothing and load nothing; styles are what viewers of
# browsers bring along.
EVIDENCE_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'; object-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), display-capture=(), usb=()",
    "X-Frame-Options": "DENY",
}


class Guard:
    """The ASGI layer around the application."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it; add the headers to whatever is answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        guarded = _with_headers(send)
        if not host_allowed(headers.get("host", ""), self.hosts):
            await _refuse(421, "wrong-host", "This service does not answer to that name.")(scope, receive, guarded)
        elif scope["method"] not in SAFE_METHODS and not same_origin(headers, scope.get("scheme", "http")):
            await _refuse(403, "cross-site", "The request did not come from our own page.")(scope, receive, guarded)
        elif not _declared_length_allowed(headers):
            await _refuse(413, "too-large", f"A request body may have {BODY_BYTES_MAX} bytes.")(scope, receive, guarded)
        else:
            await self.app(scope, _limited(receive), guarded)


def host_allowed(header: str, hosts: Collection[str]) -> bool:
    """Tell whether a Host header names us: one of our names, or a literal address of this machine's own loopback.

    An address cannot be rebound, so any literal address is fine where we listen on more than loopback ("*").
    """
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if name in hosts:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or "*" in hosts


def same_origin(headers: Headers, scheme: str) -> bool:
    """Tell whether a state-changing request comes from our own pages.

    Browsers say so in Sec-Fetch-Site; where they do not (plain HTTP on an intranet) the Origin must be exactly us.
    A request with neither is refused: our pages always bring one.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return headers.get("origin", "") == f"{scheme}://{headers.get('host', '')}"


def _declared_length_allowed(headers: Headers) -> bool:
    declared = headers.get("content-length", "0")
    return declared.isdigit() and int(declared) <= BODY_BYTES_MAX


def _limited(receive: Receive) -> Receive:
    """Cut a body that is longer than it said, or that never said its length."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > BODY_BYTES_MAX:
                return {"type": "http.disconnect"}
        return message

    return limited


def secure(headers: MutableHeaders) -> None:
    """Add the security headers an answer does not already carry."""
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    headers.setdefault("Cache-Control", "no-store")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            secure(MutableHeaders(scope=message))
        await send(message)

    return sending


def _refuse(status: int, code: str, detail: str) -> JSONResponse:
    return problem(status=status, code=code, title="Refused", detail=detail)


def problem(*, status: int, code: str, title: str, detail: str, remedy: str = "", **more: object) -> JSONResponse:
    """Return problem details (RFC 9457) with our stable code and the remedy."""
    document = {"type": "about:blank", "code": code, "title": title, "status": status, "detail": detail}
    if remedy:
        document["remedy"] = remedy
    return JSONResponse({**document, **more}, status_code=status, media_type="application/problem+json")

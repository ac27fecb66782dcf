"""What the tests of the pages share: sealed clips without a dock, a signed-in client, a real server.

Clips are sealed here by the same two entries a dock writes, with facts given by the test, so that a page test needs no
device and no probe. The browser tests dock a real card.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import uvicorn

with warnings.catch_warnings():
    # The test client asks for a successor of httpx that is too young for our cooldown; httpx does the same work.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

from api.config import Settings
from api.web.app import create_app
from api.web.sessions import create_sign_in_link
from vault.entry import decode
from vault.log.merkle import Edge
from vault.model import CHUNK_BYTES, Digest, device_id
from vault.store import chunk_hash
from vault.vault import Draft, uuid7

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vault.entry import LogEntry
    from vault.vault import Vault

BASE = "http://127.0.0.1:8470"
OURS = {"Sec-Fetch-Site": "same-origin"}


class Clock:
    """The clock of the sessions, in the hand of the test."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **amount: float) -> None:
        self.now += timedelta(**amount)


def seal(
    vault: Vault,
    data: bytes,
    name: str = "clip.bin",
    *,
    media: str = "other",
    condition: str = "whole",
    facts: dict[str, Any] | None = None,
    label: str = "DSJ 0012",
) -> Digest:
    """Seal bytes as a dock would: object and chunk list in the store, then acquired and sealed in the log."""
    digest = Digest.of(data)
    incoming = vault.objects.begin()
    os.write(incoming.fd, data)
    edge, chunks = Edge(), []
    for start in range(0, len(data), CHUNK_BYTES):
        chunks.append(chunk_hash(data[start : start + CHUNK_BYTES]))
        edge.append(chunks[-1])
    vault.objects.place(incoming, digest, b"".join(chunks))
    actor = vault.actor("docker", role="custodian")
    device, session = device_id("volume", label), str(uuid7())
    fields = {"clip": str(digest), "device": device, "session": session, "bytes": len(data), "outcome": "sealed"}
    sealed = {
        "clip": str(digest),
        "bytes": len(data),
        "chunk_bytes": CHUNK_BYTES,
        "chunk_root": edge.root().hex(),
        "media": media,
        "condition": condition,
    }
    vault.submit(
        [
            Draft(
                type="dock.opened",
                actor=actor,
                fields={"device": device, "session": session, "driver": "volume"},
                private={"label": label, "identity": {}},
            ),
            Draft(
                type="clip.acquired",
                actor=actor,
                fields=fields,
                private={"path": f"DCIM/{name}", "modified_at": "2026-11-20T10:12:03+08:00", "fingerprint": "1"},
            ),
            Draft(type="clip.sealed", actor=actor, fields=sealed, private={"name": name, "facts": facts or {}}),
        ]
    )
    return digest


def entries(vault: Vault) -> list[LogEntry]:
    """Return the whole log, authenticated."""
    checkpoint = vault.reader.checkpoint()
    return [decode(data) for _, data in vault.reader.entries(0, checkpoint.size, checkpoint)]


def types(vault: Vault) -> list[str]:
    """Return the types of all entries."""
    return [entry.statement.type for entry in entries(vault)]


def client(vault: Vault, clock: Clock | None = None, **settings: Any) -> TestClient:
    """A browser that is not signed in."""
    app = create_app(vault, Settings(**settings), **({"now": clock} if clock else {}))
    return TestClient(app, base_url=BASE, headers={**OURS, "Accept": "application/json"}, follow_redirects=False)


def signed_in(vault: Vault, clock: Clock | None = None, *, account: str = "wang", **settings: Any) -> TestClient:
    """A browser that used a sign-in link."""
    browser = client(vault, clock, **settings)
    return sign_in(browser, account)


def sign_in(browser: TestClient, account: str = "wang") -> TestClient:
    """Sign a browser in through a link, as its application would make it."""
    sessions = browser.app.state.desk.sessions
    token = sessions.create_link(account, "supervisor", timedelta(minutes=15))
    assert browser.get(f"/sign-in?token={token}").status_code == 303
    return browser


def open_view(browser: TestClient, clip: Digest) -> dict[str, Any]:
    """Open a view as the player does."""
    answer = browser.post(f"/clips/{clip.hex}/views")
    assert answer.status_code == 201, answer.text
    opened: dict[str, Any] = answer.json()
    return opened


@contextlib.contextmanager
def serving(vault: Vault) -> Iterator[str]:
    """A real server on a free port of loopback; yields a sign-in link."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = create_app(vault, Settings())
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield create_sign_in_link(vault, url, "wang", "supervisor", 600)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()

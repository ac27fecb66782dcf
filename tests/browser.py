"""A real browser for the tests of the pages: Debian's Chromium, watched for anything it should not do."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
VIEWPORT = {"width": 1366, "height": 768}


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Launch Chromium; skips the test where there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium here: scripts/install-test-tools installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


class Watch:
    """What a page asked for and complained about."""

    def __init__(self, page: Page, base: str) -> None:
        self.base = base
        self.requests: list[tuple[str, str]] = []
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        page.on("request", self._request)
        page.on(
            "console", lambda message: message.type in {"error", "warning"} and self.complaints.append(message.text)
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _request(self, request: Any) -> None:
        if request.url.startswith(self.base):
            self.requests.append((request.method, request.url.removeprefix(self.base)))
        elif not request.url.startswith(("data:", "blob:", "about:")):
            self.foreign.append(request.url)

    def assert_clean(self) -> None:
        assert not self.foreign, f"the page asked other hosts: {self.foreign}"
        assert not self.complaints, f"the page complained (CSP violations stand here too): {self.complaints}"


def until(page: Page, script: str, accept: Callable[[Any], bool] = bool, *, seconds: float = 60) -> Any:
    """Evaluate until the value is accepted. (`wait_for_function` needs eval, which the page forbids.)"""
    end = time.monotonic() + seconds
    value: Any = None
    while time.monotonic() < end:
        value = page.evaluate(script)
        if accept(value):
            return value
        page.wait_for_timeout(40)
    raise AssertionError(f"{script} stayed {value!r}")

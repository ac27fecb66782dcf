"""What a person sees when something is wrong: with the stored bytes, with the log, with the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import footage
import pytest
from browser import VIEWPORT, chromium, until
from web import seal, serving, types

from vault.model import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from vault.model import Digest
    from vault.vault import Vault

pytestmark = pytest.mark.browser

FACTS = {
    "container": "mp4",
    "duration_ms": 24_000,
    "streams": [
        {"kind": "video", "codec": "h264", "width": 1280, "height": 720, "frame_rate": "25"},
        {"kind": "audio", "codec": "aac", "sample_rate": 48000, "channels": 1},
    ],
}
STATE = "() => document.querySelector('[data-player]').dataset.state ?? ''"


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """More than one chunk of media, its index first."""
    path = tmp_path_factory.mktemp("faults") / "a.mp4"
    data = footage.h264_aac_mp4(path, 24, moov="first", width=1280, height=720).read_bytes()
    assert len(data) > CHUNK_BYTES + 200_000
    return data


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def clip(vault: Vault, movie: bytes) -> Digest:
    return seal(vault, movie, "a.mp4", media="video", facts=FACTS)


@pytest.fixture
def page(vault: Vault, clip: Digest, browser: Browser) -> Iterator[Page]:
    with serving(vault) as link:
        context = browser.new_context(viewport=VIEWPORT, locale="en-GB")
        opened = context.new_page()
        opened.goto(link)
        yield opened
        context.close()


def flip(path: Path, at: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def test_a_flipped_bit_stops_the_player_and_the_page_says_so(vault: Vault, clip: Digest, page: Page) -> None:
    """I8: what was good is shown, what is bad is not; the finding is on the page and in the log."""
    flip(vault.objects.path(clip), CHUNK_BYTES + 100_000)
    page.locator(".row-link").click()
    until(page, STATE, lambda state: state == "fault")
    words = page.inner_text("[data-message]")
    assert "stored bytes no longer match the seal" in words
    assert clip.hex in words
    assert types(vault).count("incident.detected") == 1


def test_a_damaged_index_of_the_file_is_told_as_well(vault: Vault, clip: Digest, page: Page) -> None:
    flip(vault.objects.path(clip), 2_000)
    page.locator(".row-link").click()
    until(page, STATE, lambda state: state == "fault")
    assert "stored bytes no longer match the seal" in page.inner_text("[data-message]")


def test_with_the_log_unwritable_the_page_says_that_nothing_is_shown(vault: Vault, clip: Digest, page: Page) -> None:
    """I6: REC-05 not writable -> nothing served, in words a person understands."""
    size = vault.reader.checkpoint().size
    obstacle = vault.root / "log" / "tile" / "entries" / "000.p" / str(size + 1)
    obstacle.mkdir()  # the next entry cannot be published; all that is there can be read
    page.locator(".row-link").click()
    until(page, STATE, lambda state: state == "refused")
    words = page.inner_text("[data-message]")
    assert "so nothing is shown" in words
    assert page.evaluate("() => document.querySelector('video').currentSrc") == ""
    obstacle.rmdir()


def test_signing_out_elsewhere_is_told_at_the_next_click(vault: Vault, clip: Digest, page: Page) -> None:
    page.locator(".row-link").click()
    until(page, STATE, lambda state: state == "playing")
    with vault.catalogue.writing() as connection:
        connection.exec_driver_sql("UPDATE web_session SET ended_ms = 1")
    page.reload()
    assert page.get_by_text("You are not signed in").is_visible()
    assert page.get_by_text("liuhen sign-in").is_visible()

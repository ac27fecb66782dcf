"""A newcomer opens the link, sees the clips with their seals, clicks one, and it plays. In a real browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import footage
import pytest
from browser import VIEWPORT, Watch, chromium, until
from web import entries, serving, types

from hardware.volume import VolumeRecorder
from ingest.dock import dock
from ingest.probing.probe import Prober
from vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

STATE = "() => document.querySelector('[data-player]').dataset.state ?? ''"
TIME = "() => document.querySelector('video').currentTime"
READ_COUNTER = """() => {
  const video = document.querySelector('video');
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(video, 0, 0);
  const block = 16 * canvas.width / 320;
  let number = 0;
  for (let bit = 0; bit < 16; bit += 1) {
    const { data } = context.getImageData(bit * block + block / 4, block / 4, block / 2, block / 2);
    let sum = 0;
    for (let at = 0; at < data.length; at += 4) sum += data[at + 1];
    if (sum / (data.length / 4) > 125) number |= 1 << bit;
  }
  return number;
}"""
CARD = {
    "DSJ0012_20261120101203_0001.mp4": lambda path: footage.h264_aac_mp4(path, 12),
    "DSJ0012_20261120102000_0002.mp4": lambda path: footage.vfr(path, 6),
    "现场检查_后厨.mp4": lambda path: footage.hevc_mp4(path, 2),
    "MOVI0007.avi": lambda path: footage.avi_h264_alaw(path, 3),
    "broken.mp4": lambda path: footage.mp4_no_moov(path, 3),
    "笔录.txt": lambda path: path.write_text("执法现场笔录", encoding="utf-8"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """A vault with a docked card: several containers and codecs, a damaged clip, a picture, a text."""
    root = tmp_path_factory.mktemp("review")
    card = root / "card" / "DCIM"
    card.mkdir(parents=True)
    for name, make in CARD.items():
        make(card / name)
    photograph(card / "IMG_0031.JPG")
    with Vault.init(root / "vault") as opened, Prober() as prober:
        actor = opened.actor("docker", role="custodian")
        report = dock(opened, VolumeRecorder(root / "card"), actor, prober, on_event=lambda _: None)
        assert len(report.outcomes) == len(CARD) + 1
        yield opened


def photograph(path: Path) -> None:
    import av

    frame = av.VideoFrame.from_ndarray(footage._city(640, 360)[40], format="yuv420p").reformat(format="yuvj420p")
    with av.open(str(path), "w", format="mjpeg") as out:
        stream = out.add_stream("mjpeg")
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuvj420p"
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


@pytest.fixture(scope="module")
def link(vault: Vault) -> Iterator[str]:
    with serving(vault) as made:
        yield made


@pytest.fixture(scope="module")
def state(browser: Browser, link: str) -> Any:
    """The cookies of a browser that used the link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    assert page.url.endswith("/clips")
    kept = context.storage_state()
    context.close()
    return kept


@pytest.fixture
def page(browser: Browser, state: Any) -> Iterator[Page]:
    context = browser.new_context(storage_state=state, viewport=VIEWPORT, locale="en-GB")
    opened = context.new_page()
    yield opened
    context.close()


@pytest.fixture
def base(link: str) -> str:
    return link.partition("/sign-in")[0]


@pytest.fixture
def watch(page: Page, base: str) -> Watch:
    return Watch(page, base)


def open_clip(page: Page, base: str, name: str) -> None:
    page.goto(base + "/clips")
    page.locator(".row-link", has=page.locator(f'.ends[title="{name}"]')).click()


def test_click_and_it_plays(page: Page, base: str, watch: Watch, vault: Vault) -> None:
    """I6: REC-05 list, click, picture; the view was asked for before the first byte of media."""
    before = types(vault).count("clip.viewed")
    open_clip(page, base, "DSJ0012_20261120101203_0001.mp4")
    until(page, STATE, lambda state: state == "playing")
    first = page.evaluate(TIME)
    until(page, TIME, lambda now: now > first + 0.5)
    assert page.evaluate("() => document.querySelector('video').videoWidth") == footage.WIDTH
    assert page.get_by_text("The sealed original; every byte checked").is_visible()
    assert types(vault).count("clip.viewed") == before + 1
    viewed = entries(vault)[-1]
    assert f"Viewing logged as entry #{vault.reader.checkpoint().size - 1}" in page.inner_text("[data-logged]")
    assert vault.records.disclosed(viewed)["purpose"] == "日常复核"
    asked = next(n for n, (method, path) in enumerate(watch.requests) if method == "POST" and path.endswith("/views"))
    media = next(n for n, (_, path) in enumerate(watch.requests) if path.endswith("/media"))
    assert asked < media
    watch.assert_clean()


def test_it_seeks_and_steps_exactly(page: Page, base: str, watch: Watch) -> None:
    """Every step shows exactly the next frame, forwards and back, also in a clip of uneven times with B-frames."""
    for name in ("DSJ0012_20261120101203_0001.mp4", "DSJ0012_20261120102000_0002.mp4"):
        open_clip(page, base, name)
        until(page, "() => document.querySelector('[data-player]').dataset.frameCount", bool)
        until(page, STATE, lambda state: state == "playing")
        page.keyboard.press("k")
        until(page, "() => document.querySelector('video').paused")
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        start = step(page, ".")
        for number in range(start + 1, start + 11):
            assert step(page, ".") == number
        for number in range(start + 9, start + 3, -1):
            assert step(page, ",") == number
    watch.assert_clean()


def step(page: Page, key: str) -> int:
    """Press a key and return the number of the frame that is on the screen, read from its own pixels."""
    page.evaluate("() => { document.querySelector('[data-player]').dataset.frameShown = ''; }")
    page.keyboard.press(key)
    claimed = until(page, "() => document.querySelector('[data-player]').dataset.frameShown", bool)
    seen = int(page.evaluate(READ_COUNTER))
    assert seen == int(claimed)
    return seen


def test_a_deep_link_starts_at_its_second(page: Page, base: str) -> None:
    open_clip(page, base, "DSJ0012_20261120101203_0001.mp4")
    page.goto(page.url + "?t=7.5")
    until(page, STATE, lambda state: state == "playing")
    assert page.evaluate(TIME) >= 7.5


def test_the_playlist_plays_the_same_bytes(page: Page, base: str, watch: Watch) -> None:
    """Safari-class players take the HLS playlist; Chromium can, so it stands in for them here."""
    open_clip(page, base, "DSJ0012_20261120101203_0001.mp4")
    until(page, STATE, lambda state: state == "playing")
    page.evaluate(
        """() => {
          const video = document.querySelector('video');
          const playlist = video.querySelector('[type="application/vnd.apple.mpegurl"]').src;
          video.replaceChildren();
          video.src = playlist;
          video.play();
        }"""
    )
    until(page, TIME, lambda now: now > 0.5)
    assert page.evaluate("() => Math.round(document.querySelector('video').duration)") == 12
    assert any(path.endswith("/media.m3u8") for _, path in watch.requests)


def test_keys_of_the_player(page: Page, base: str) -> None:
    open_clip(page, base, "DSJ0012_20261120101203_0001.mp4")
    until(page, STATE, lambda state: state == "playing")
    page.keyboard.press("l")
    assert page.evaluate("() => document.querySelector('video').playbackRate") == 1.5
    page.keyboard.press("j")
    page.keyboard.press("m")
    assert page.evaluate("() => document.querySelector('video').muted") is True
    page.keyboard.press("End")
    until(page, TIME, lambda now: now > 11.5)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")  # below the slowest: backwards, by steps
    at = page.evaluate(TIME)
    until(page, TIME, lambda now: now < at - 0.3)
    page.keyboard.press("k")
    page.keyboard.press("?")
    assert page.locator("dialog[open]").is_visible()
    page.keyboard.press("Escape")
    page.locator("[name=words]").evaluate("field => field.removeAttribute('data-hidden')")
    page.locator("[name=words]").fill("m")
    assert page.evaluate("() => document.querySelector('video').muted") is True  # keys in a field are text


def test_a_picture_shows_and_a_text_opens(page: Page, base: str, watch: Watch) -> None:
    open_clip(page, base, "IMG_0031.JPG")
    until(page, STATE, lambda state: state == "playing")
    assert page.evaluate("() => document.querySelector('[data-image]').naturalWidth") == 640
    open_clip(page, base, "笔录.txt")
    until(page, STATE, lambda state: state == "nothing")
    with page.context.expect_page() as opening:
        page.get_by_role("link", name="Open the document").click()
    assert "执法现场笔录" in opening.value.inner_text("body")
    watch.assert_clean()


@pytest.mark.parametrize(("name", "reason"), [("现场检查_后厨.mp4", "HEVC"), ("MOVI0007.avi", "container")])
def test_other_codecs_say_that_a_copy_is_made_and_then_play(page: Page, base: str, name: str, reason: str) -> None:
    """REC-05: any format; the page says plainly what it waits for, then plays by itself."""
    open_clip(page, base, name)
    until(page, STATE, lambda state: state == "playing", seconds=60)
    first = page.evaluate(TIME)
    until(page, TIME, lambda now: now > first)
    assert "A copy made from the sealed original" in page.inner_text("[data-how]")


def test_a_clip_is_tied_to_a_case_by_hand(page: Page, base: str, watch: Watch, vault: Vault) -> None:
    """REC-04: new case, tie, untie with a reason; every act is in the log."""
    page.goto(base + "/cases")
    page.get_by_label("Case number").fill("衡统执罚〔2026〕17号")
    page.get_by_label("Title").fill("现场检查")
    page.get_by_role("button", name="Open case").click()
    page.get_by_label("Recording without a case").select_option(index=1)
    page.get_by_label("Reason").fill("现场记录")
    page.get_by_role("button", name="Tie to case").click()
    assert page.locator(".clips tbody tr").count() == 1
    page.locator(".row-link").click()
    assert page.locator(".links").get_by_text("衡统执罚〔2026〕17号").is_visible()
    page.locator(".links summary").click()
    page.get_by_label("Reason for untying").fill("误关联")
    page.get_by_role("button", name="Untie").click()
    assert page.get_by_text("Not tied to a case.").is_visible()
    assert types(vault).count("clip.unlinked") == 1
    watch.assert_clean()


def test_the_list_is_worked_by_keys(page: Page, base: str) -> None:
    page.goto(base + "/clips")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    second = page.evaluate("() => document.activeElement.textContent")
    assert second == page.locator(".row-link").first.text_content()
    page.keyboard.press("/")
    page.keyboard.type("MOVI")
    page.keyboard.press("Enter")
    page.wait_for_url("**/clips?text=MOVI")
    assert page.locator(".row-link").count() == 1
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/clips/[0-9a-f]{64}"))


def test_another_purpose_opens_another_view(page: Page, base: str, vault: Vault) -> None:
    open_clip(page, base, "DSJ0012_20261120101203_0001.mp4")
    until(page, STATE, lambda state: state == "playing")
    with page.expect_navigation():
        page.get_by_label("Purpose of viewing").select_option("complaint")
    until(page, STATE, lambda state: state == "playing")
    assert "Complaint check" in page.inner_text(".purpose-shown")
    assert vault.records.disclosed(entries(vault)[-1])["purpose"] == "投诉核查"
    with page.expect_navigation():
        page.get_by_label("Purpose of viewing").select_option("routine")

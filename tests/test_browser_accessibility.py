"""Every page is legible to everybody: axe finds nothing, in both languages, light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import footage
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import VIEWPORT, Watch, chromium, until
from web import seal, serving

from vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

FACTS = {
    "container": "mp4",
    "duration_ms": 3000,
    "streams": [{"kind": "video", "codec": "h264", "width": 320, "height": 180, "frame_rate": "25"}],
    "start": {"at": "2026-11-20T10:12:03+08:00", "source": "name", "confidence": "medium"},
}


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    root = tmp_path_factory.mktemp("axe")
    movie = footage.video_only(root / "a.mp4", 3).read_bytes()
    with Vault.init(root / "vault") as opened:
        clip = seal(opened, movie, "DSJ0012_20261120101203_0001.mp4", media="video", facts=FACTS)
        seal(opened, b"broken", "broken.mp4", media="video", condition="damaged", facts={"reason": "no index"})
        actor = opened.actor("li", role="supervisor")
        case = opened.open_case(actor, number="衡统执罚〔2026〕17号", title="现场检查", category="penalty")
        opened.link(actor, clip, case.id, "现场记录")
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def signed(vault: Vault, browser: Browser) -> Iterator[tuple[str, Any]]:
    with serving(vault) as link:
        context = browser.new_context()
        context.new_page().goto(link)
        state = context.storage_state()
        context.close()
        yield link.partition("/sign-in")[0], state


def pages(vault: Vault) -> dict[str, str]:
    clips = {clip.name: clip.id.hex for clip in vault.catalogue.clips()}
    return {
        "list": "/clips",
        "empty list": "/clips?text=nothing-like-this",
        "clip": f"/clips/{clips['DSJ0012_20261120101203_0001.mp4']}",
        "damaged clip": f"/clips/{clips['broken.mp4']}",
        "cases": "/cases",
        "case": f"/cases/{vault.catalogue.cases()[0].id}",
        "log": "/log",
        "about": "/about",
        "error": "/clips/abcdef99",
        "signed out": "/sign-in",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
def test_axe_finds_nothing(vault: Vault, browser: Browser, signed: tuple[str, Any], locale: str, scheme: Any) -> None:
    base, state = signed
    for name, path in pages(vault).items():
        context = browser.new_context(
            storage_state=None if name == "signed out" else state,
            viewport=VIEWPORT,
            locale=locale,
            color_scheme=scheme,
        )
        page = context.new_page()
        watch = Watch(page, base)
        page.goto(base + path)
        assert page.locator("html").get_attribute("lang") == ("zh-CN" if locale == "zh-CN" else "en")
        if "clip" in name:
            until(
                page,
                "() => document.querySelector('[data-player]').dataset.state ?? ''",
                lambda s: s in {"playing", "nothing"},
            )
            for summary in page.locator("summary").all():
                summary.click()
        found = Axe().run(page).response["violations"]
        assert not found, f"{name}: {[(v['id'], [n['html'] for n in v['nodes']]) for v in found]}"
        watch.complaints = [text for text in watch.complaints if name != "error" or "404" not in text]
        watch.assert_clean()
        context.close()


def test_nothing_is_wider_than_the_window(vault: Vault, browser: Browser, signed: tuple[str, Any]) -> None:
    base, state = signed
    for width in (1366, 1920, 1024, 390):
        context = browser.new_context(storage_state=state, viewport={"width": width, "height": 768}, locale="en-GB")
        page = context.new_page()
        for name, path in pages(vault).items():
            page.goto(base + path)
            wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{name} at {width}: {wide} px too wide"
        context.close()

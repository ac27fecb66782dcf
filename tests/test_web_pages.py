"""What the pages show, and that nothing a device wrote can do anything in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web import open_view, seal, signed_in, types

from api import present
from api.web.pages import cases, clips
from vault.log.proof import TlogProof

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from vault.vault import Vault

HTML = {"Accept": "text/html", "Accept-Language": "en"}
VIDEO = {
    "container": "mp4",
    "duration_ms": 83_500,
    "streams": [{"kind": "video", "codec": "h264", "width": 1920, "height": 1080, "frame_rate": "30000/1001"}],
    "start": {"at": "2026-11-20T10:12:03+08:00", "source": "name", "confidence": "medium"},
}


def page(browser: TestClient, path: str, **headers: str) -> str:
    answer = browser.get(path, headers={**HTML, **headers})
    assert answer.status_code == 200, answer.text[:500]
    return answer.text


def test_the_list_shows_each_clip_with_its_seal(vault: Vault) -> None:
    """REC-05: name, start with confidence, length, picture, device, case, seal and condition of every clip."""
    clip = seal(vault, b"one", "DSJ0012_20261120101203.mp4", media="video", facts=VIDEO)
    seal(vault, b"two", "broken.mp4", media="video", condition="damaged", facts={"reason": "no moov"})
    actor = vault.actor("li", role="supervisor")
    case = vault.open_case(actor, number="衡统执罚〔2026〕17号", title="t")
    vault.link(actor, clip, case.id, "")
    html = page(signed_in(vault), "/clips")
    index = vault.catalogue.clip(clip).sealed_index
    for words in (
        "2026-11-20 10:12:03",
        "medium confidence",
        "1:24",
        "1920×1080 · H.264",
        "DSJ 0012",
        "17号",
        clip.hex[:8],
    ):
        assert words in html, words
    assert f"#{index}" in html
    assert "Damaged" in html
    assert "2 recordings" in html


def test_filters_stand_in_the_address_and_add_up(vault: Vault) -> None:
    """REC-04: clips without a case are listed and counted."""
    clip = seal(vault, b"one", "alpha.mp4", media="video")
    seal(vault, b"two", "alpha.jpg", media="image")
    seal(vault, b"three", "beta.mp4", media="video", condition="damaged")
    actor = vault.actor("li", role="supervisor")
    case = vault.open_case(actor, number="A-1", title="t")
    vault.link(actor, clip, case.id, "")
    browser = signed_in(vault)

    def shown(query: str) -> int:
        return len(re.findall(r'class="row-link"', page(browser, f"/clips?{query}")))

    assert shown("") == 3
    assert shown("text=alpha") == 2
    assert shown("text=alpha&media=video") == 1
    assert shown("condition=damaged") == 1
    assert shown("unlinked=1") == 2
    assert shown(f"case={case.id}") == 1
    assert shown(f"text={clip.hex[:12]}") == 1
    assert shown("media=nonsense") == 3
    assert shown("text=%25") == 0
    assert shown("text=nothing") == 0


def test_search_finds_a_recording_by_device_and_by_its_place_there(vault: Vault) -> None:
    """The box says name, device and digest, and each finds."""
    clip = seal(vault, b"one", "alpha.mp4", label="LZ00127")
    seal(vault, b"two", "beta.mp4", label="QT_4711")
    seal(vault, b"one", "renamed.mp4", label="QT_4711")  # the same bytes again, from another device
    found = vault.catalogue.clips

    assert {item.name for item in found(text="lz00127")} == {"alpha.mp4"}
    assert len(found(text="QT_4711")) == vault.catalogue.count_clips(text="QT_4711") == 2
    assert found(text="QTx4711") == []  # an underscore is itself, no wildcard
    assert [item.id for item in found(text="DCIM/renamed")] == [clip]
    assert len(found(text="dcim/")) == 2


def test_a_long_list_comes_in_pages(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "PAGE_ROWS", 5)
    for number in range(8):
        seal(vault, f"clip {number}".encode(), f"n{number:03}.bin")
    browser = signed_in(vault)
    first, second = page(browser, "/clips"), page(browser, "/clips?page=2")
    assert first.count('class="row-link"') == 5
    assert second.count('class="row-link"') == 3
    assert "6–8 of 8" in second
    assert 'rel="next"' in first
    assert 'rel="next"' not in second
    assert 'rel="prev"' in second


def test_a_case_of_many_clips_comes_in_pages(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "PAGE_ROWS", 5)
    actor = vault.actor("li", role="supervisor")
    case = vault.open_case(actor, number="A-1", title="t")
    for number in range(8):
        vault.link(actor, seal(vault, f"clip {number}".encode(), f"n{number:03}.bin"), case.id, "")
    browser = signed_in(vault)
    first, second = page(browser, f"/cases/{case.id}"), page(browser, f"/cases/{case.id}?page=2")
    assert first.count('class="row-link"') == 5
    assert second.count('class="row-link"') == 3
    assert "6–8 of 8" in second


def test_a_clips_page_proves_its_seal(vault: Vault) -> None:
    """REC-06: digest, index, checkpoint, proof checked now; the offered files verify with what the page shows."""
    clip = seal(vault, b"one", "a.mp4", media="video", facts=VIDEO)
    browser = signed_in(vault)
    html = page(browser, f"/clips/{clip.hex}")
    index = vault.catalogue.clip(clip).sealed_index
    for words in (clip.hex, f"#{index}", "Sealed, proof checked just now", "DCIM/a.mp4", "29.97 fps", "clip verify"):
        assert words in html, words
    proof = browser.get(f"/clips/{clip.hex}/seal.tlog-proof").content
    entry = browser.get(f"/log/entries/{index}.json").content
    TlogProof.parse(proof).verify(entry, vault.reader.verifiers, vault.origin)
    leaf = re.search(r"= <code[^>]*>([0-9a-f]{64})", html)
    assert leaf
    from vault.log.merkle import leaf_hash

    assert leaf[1] == leaf_hash(entry).hex()


@pytest.mark.parametrize(
    ("last", "words"), [(True, "The seal does not check out"), (False, "The history cannot be proven")]
)
def test_a_clips_page_warns_when_the_log_was_changed(vault: Vault, words: str, *, last: bool) -> None:
    """Attack: a byte of the log is flipped on disk, in the seal or in the entry before it."""
    clip = seal(vault, b"one", "a.mp4", media="video", facts=VIDEO)
    browser = signed_in(vault)
    for bundle in (vault.root / "log" / "tile" / "entries").rglob("*"):
        if bundle.is_file():
            data = bytearray(bundle.read_bytes())
            at = (data.rfind if last else data.find)(clip.hex.encode())
            if at >= 0:
                data[at] ^= 1
                bundle.chmod(0o644)
                bundle.write_bytes(data)
    html = page(browser, f"/clips/{clip.hex}")
    assert words in html
    assert ("Sealed, proof checked just now" in html) is not last
    assert 'role="alert"' in html


def test_a_shortened_digest_leads_to_the_full_address(vault: Vault) -> None:
    clip = seal(vault, b"one")
    answer = signed_in(vault).get(f"/clips/{clip.hex[:12]}")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/clips/{clip.hex}"


def test_history_says_who_looked_and_why(vault: Vault) -> None:
    """REC-05: REC-07: retrievals are listed with person and purpose, in the reader's language."""
    clip = seal(vault, b"one", "a.mp4", media="video", facts={})
    li = signed_in(vault, account="li.ming")
    li.post("/purpose", data={"kind": "complaint"})
    open_view(li, clip)
    wang = signed_in(vault, account="wang")
    english, chinese = page(wang, f"/clips/{clip.hex}"), page(wang, f"/clips/{clip.hex}", **{"Accept-Language": "zh"})
    assert "Viewed for: Complaint check" in english
    assert "li.ming" in english
    assert "调阅，事由：投诉核查" in chinese


def test_a_case_from_first_form_to_untying(vault: Vault) -> None:
    clip = seal(vault, b"one", "a.mp4", media="video")
    browser = signed_in(vault)
    made = browser.post("/cases", data={"number": " A-1 ", "title": "查处", "target": "某公司", "category": "penalty"})
    place = made.headers["location"]
    assert made.status_code == 303
    assert "Administrative penalty" in page(browser, place)
    assert browser.post("/cases", data={"number": "A-1", "title": "again"}).status_code == 409
    case = place.rpartition("/")[2]
    assert browser.post(f"{place}/link", data={"clip": clip.hex, "reason": "现场"}).status_code == 303
    assert "a.mp4" in page(browser, place)
    again = browser.post(f"/clips/{clip.hex}/link", data={"case": case})
    assert again.status_code == 409
    assert again.json()["code"] == "ConflictError"
    assert browser.post(f"/clips/{clip.hex}/unlink", data={"case": case, "reason": " "}).status_code == 422
    undone = browser.post(f"/clips/{clip.hex}/unlink", data={"case": case, "reason": "误关联", "back": place})
    assert undone.headers["location"] == place
    html = page(browser, place)
    assert "No recording is tied to this case yet" in html
    assert "误关联" in html  # the history keeps it
    assert types(vault)[-3:] == ["case.opened", "clip.linked", "clip.unlinked"]


def test_the_log_page_tells_everything_in_words(vault: Vault) -> None:
    clip = seal(vault, b"one", "a.mp4", media="video")
    browser = signed_in(vault)
    open_view(browser, clip)
    html = page(browser, "/log")
    for words in ("Log founded", "Person registered: wang", "Sealed: 3 B, Video, Whole", "Viewed for: Routine review"):
        assert words in html, words
    checkpoint = vault.reader.checkpoint()
    assert browser.get("/log/checkpoint").content == checkpoint.note
    assert vault.origin in browser.get("/log/vkey").text
    assert browser.get(f"/log/entries/{checkpoint.size}.json").status_code == 404
    assert browser.get("/log/entries/0.tlog-proof").content.startswith(b"c2sp.org/tlog-proof@v1\nindex 0\n")
    older = page(browser, "/log?before=2")
    assert "Log founded" in older
    assert "Viewed for" not in older


HOSTILE = [
    "<script>alert(1)</script>.mp4",
    '"><img src=x onerror=alert(1)>.mp4',
    "{{ 7*7 }}.mp4",
    "\u202egnp.exe\x00\x1b[31m.mp4",
    "'; DROP TABLE clip; --.mp4",
    "名" * 120 + ".mp4",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_name_is_text_and_nothing_else(vault: Vault, name: str) -> None:
    """Attack: a file name on the card holds markup, a template, control and direction characters, broken bytes."""
    facts: dict[str, Any] = {
        "container": name,
        "streams": [{"kind": "video", "codec": name, "width": name}],
        "start": {"at": name, "source": name, "confidence": name},
        "exif": {"make": name},
        "gps": {"first": name},
        "reason": name,
    }
    clip = seal(vault, name.encode("utf-8", "surrogatepass"), name, condition="damaged", facts=facts, label="<b>card")
    browser = signed_in(vault)
    view = open_view(browser, clip)
    for path in ("/clips", f"/clips/{clip.hex}", "/log"):
        html = page(browser, path)
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert "<b>card" not in html
        assert "\u202e" not in html
        assert "\x1b" not in html
        assert "\x00" not in html
        assert ">49.mp4" not in html
    place = browser.post(view["export_url"]).headers["location"]
    disposition = browser.get(place).headers["content-disposition"]
    assert disposition.startswith("attachment; ")
    assert disposition.isascii()
    assert disposition.isprintable()


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (5 * 10**9, "4.7 GiB"),
        (1 << 50, "1024 TiB"),
    ],
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert present.size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0, "0:00.0"), (3.04, "0:03.0"), (59.6, "1:00"), (83.5, "1:24"), (3600, "1:00:00"), (9.99, "0:10.0")],
)
def test_durations_in_words(seconds: float | None, words: str) -> None:
    assert present.duration(seconds) == words


@given(
    facts=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "streams",
                        "kind",
                        "codec",
                        "width",
                        "height",
                        "frame_rate",
                        "sample_rate",
                        "channels",
                        "start",
                        "at",
                        "source",
                        "confidence",
                        "gps",
                        "first",
                        "count",
                        "exif",
                        "make",
                        "model",
                        "image",
                        "format",
                        "container",
                        "reason",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=25,
    )
)
def test_no_facts_can_break_a_page(facts: Any) -> None:
    """Facts come from hostile files through a probe that may change: showing them never fails."""
    from datetime import UTC, datetime

    from api.web.i18n import translator
    from vault.model import Clip, Digest

    clip = Clip(
        id=Digest.of(b""), size=0, chunk_bytes=1, chunk_root=b"\0" * 32, media="other", condition="whole", sealed_index=0,
        sealed_at=datetime.now(UTC), sm3=None, name="", facts=facts if isinstance(facts, dict) else {},
        started_at=None, duration_s=None,
    )  # fmt: skip
    present.picture(clip)
    present.contents(clip, translator("en"))
    present.start(clip)
    present.raw(clip.facts)

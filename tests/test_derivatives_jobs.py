"""Derivatives of sealed clips: made once, from checked bytes, in a confined child; whatever fails leaves nothing half."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import footage
import pytest
from web import seal

from transcode.derived import derivatives as module
from transcode.derived.derivatives import Derivatives, Job
from transcode.derived.shelf import Derivative, Shelf
from transcode.errors import DerivativeError, DerivativeMissingError
from transcode.virtual.media import VirtualMedia
from vault.errors import FixityMismatchError, StorageError
from vault.model import Digest
from vault.vault import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vault.model import Clip
    from vault.vault import Vault

TS = {"container": "mpegts", "streams": [{"kind": "video", "codec": "h264"}, {"kind": "audio", "codec": "aac"}]}
HEVC = {"container": "mp4", "streams": [{"kind": "video", "codec": "hevc"}, {"kind": "audio", "codec": "aac"}]}
AVI_B = {"container": "avi", "streams": [{"kind": "video", "codec": "h264"}]}
PROGRAM = {"container": "mpegps", "streams": [{"kind": "video", "codec": "mpeg2video"}]}
WAV = {"container": "wav", "streams": [{"kind": "audio", "codec": "pcm_s16le"}]}
LONG_S = 60.0


@pytest.fixture
def works(vault: Vault) -> Iterator[Derivatives]:
    made = Derivatives(vault.root / "derived", vault)
    yield made
    made.close()


@pytest.fixture
def sealed(vault: Vault, tmp_path: Path) -> Callable[..., Clip]:
    def make(maker: Callable[[Path], Path], facts: dict[str, Any], *, cut: int | None = None) -> Clip:
        data = maker(tmp_path / "card").read_bytes()[:cut]
        return vault.catalogue.clip(seal(vault, data, "clip", media="video", facts=facts))

    return make


def files(vault: Vault) -> list[str]:
    return sorted(path.name for path in (vault.root / "derived").rglob("*") if path.is_file())


def finished(works: Derivatives, clip: Clip) -> Job:
    works.ensure(clip)
    return works.wait(clip, LONG_S)


@pytest.mark.parametrize(
    ("maker", "facts", "recipe"),
    [
        (footage.ts, TS, "remux-1"),
        (footage.hevc_mp4, HEVC, "proxy-1"),
        (footage.wav, WAV, "sound-1"),
        (footage.avi_h264_b, AVI_B, "proxy-1"),  # a remux that could not be faithful becomes a proxy
    ],
)
def test_a_derivative_is_made_and_plays(
    works: Derivatives, sealed: Callable[..., Clip], maker: Callable[[Path], Path], facts: dict[str, Any], recipe: str
) -> None:
    clip = sealed(maker, facts)
    with pytest.raises(DerivativeMissingError):
        works.open(clip)
    job = finished(works, clip)
    assert (job.state, job.recipe, job.error) == ("done", recipe, "")
    media = VirtualMedia.open(works.open(clip), identity="x")
    assert sum(len(piece) for piece in media.read(0, media.size)) == media.size
    assert media.duration_s == pytest.approx(
        3 if maker in {footage.hevc_mp4, footage.avi_h264_b} else 4 if maker is footage.ts else 2, abs=0.1
    )


def test_its_json_names_parent_recipe_and_tools(vault: Vault, works: Derivatives, sealed: Callable[..., Clip]) -> None:
    clip = sealed(footage.ts, TS)
    finished(works, clip)
    path = vault.root / "derived" / clip.id.hex[:2] / f"{clip.id.hex}.remux-1.json"
    about = json.loads(path.read_bytes())
    assert about["parent"] == str(clip.id)
    assert about["reason"] == "container.not_web"
    assert (about["picture"], about["pictures"]) == ("copied", 100)
    assert {"av", "libavcodec", "libavformat"} <= about["tools"].keys()
    assert about["bytes"] == path.with_suffix(".mp4").stat().st_size
    assert Derivative.decode(path.read_bytes()).encode() == path.read_bytes()


def test_a_derivative_survives_a_restart_and_is_not_made_again(
    vault: Vault, works: Derivatives, sealed: Callable[..., Clip]
) -> None:
    clip = sealed(footage.ts, TS)
    finished(works, clip)
    before = (vault.root / "derived" / clip.id.hex[:2] / f"{clip.id.hex}.remux-1.mp4").stat().st_mtime_ns
    again = Derivatives(vault.root / "derived", vault)
    assert again.ensure(clip).state == "done"
    assert again.open(clip).size > 0
    assert (vault.root / "derived" / clip.id.hex[:2] / f"{clip.id.hex}.remux-1.mp4").stat().st_mtime_ns == before
    again.close()


@pytest.mark.parametrize(("maker", "facts"), [(footage.ts, TS), (footage.hevc_mp4, HEVC)])
def test_a_lost_cache_is_made_again_and_comes_out_equal(
    vault: Vault, works: Derivatives, sealed: Callable[..., Clip], maker: Callable[[Path], Path], facts: dict[str, Any]
) -> None:
    """I7: derivatives can be deleted at any time; made again they are the same, byte for byte."""
    clip = sealed(maker, facts)
    finished(works, clip)
    first = works.describe(clip)
    for path in (vault.root / "derived").rglob("*.*"):
        path.unlink()
    assert works.ensure(clip).state in {"pending", "running"}
    assert works.wait(clip, LONG_S).state == "done"
    assert works.describe(clip) == first


def test_a_changed_copy_is_never_shown_and_made_again(
    vault: Vault, works: Derivatives, sealed: Callable[..., Clip]
) -> None:
    """I7: I8: what is watched is what was derived: a changed file of the cache is found before and while it is open."""
    clip = sealed(footage.ts, TS)
    finished(works, clip)
    first = works.describe(clip)
    path = vault.root / "derived" / clip.id.hex[:2] / f"{clip.id.hex}.{first.recipe}.mp4"
    opened = works.open(clip)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(FixityMismatchError, match="changed while it was open"):
        opened.read(0, len(data))
    opened.close()
    with pytest.raises(FixityMismatchError, match="not the one that was logged"):
        works.open(clip)
    assert works.ensure(clip).state in {"pending", "running"}
    assert works.wait(clip, LONG_S).state == "done"
    assert works.describe(clip) == first


def test_a_copy_that_nobody_logged_is_never_shown(vault: Vault, sealed: Callable[..., Clip], tmp_path: Path) -> None:
    """I8: a picture slipped into the cache, with a description that fits it, is not what the log says was derived."""
    actor = vault.actor("liuhen", role="admin")

    def log(made: Derivative) -> None:
        fields: dict[str, str | int] = {
            "clip": str(made.clip), "recipe": made.recipe, "output": str(made.output), "bytes": made.size,
        }  # fmt: skip
        vault.submit([Draft(type="clip.derived", actor=actor, fields=fields)])

    works = Derivatives(
        vault.root / "derived",
        vault,
        finished=log,
        trusted=lambda made: vault.logged_derivative(made.clip, made.recipe, made.output),
    )
    clip = sealed(footage.ts, TS)
    finished(works, clip)
    true = works.describe(clip)
    forged = footage.h264_aac_mp4(tmp_path / "forged.mp4").read_bytes()
    path = vault.root / "derived" / clip.id.hex[:2] / f"{clip.id.hex}.{true.recipe}.mp4"
    path.write_bytes(forged)
    path.with_suffix(".json").write_bytes(replace(true, output=Digest.of(forged), size=len(forged)).encode())
    with pytest.raises(DerivativeMissingError):
        works.open(clip)
    finished(works, clip)
    assert works.describe(clip) == true
    works.close()


@pytest.mark.parametrize("damage", ["json_missing", "json_torn", "mp4_short", "mp4_missing", "other_parent"])
def test_what_a_power_cut_left_does_not_count(
    vault: Vault, works: Derivatives, sealed: Callable[..., Clip], damage: str
) -> None:
    clip = sealed(footage.wav, WAV)
    finished(works, clip)
    media = vault.root / "derived" / clip.id.hex[:2] / f"{clip.id.hex}.sound-1.mp4"
    about = media.with_suffix(".json")
    match damage:
        case "json_missing":
            about.unlink()
        case "json_torn":
            about.write_bytes(about.read_bytes()[:40])
        case "mp4_short":
            media.write_bytes(media.read_bytes()[:-1])
        case "mp4_missing":
            media.unlink()
        case _:
            about.write_text(about.read_text().replace(clip.id.hex, "0" * 64))
    with pytest.raises(DerivativeMissingError):
        works.open(clip)
    assert finished(works, clip).state == "done"
    assert works.open(clip).size == works.describe(clip).size


def test_asking_many_times_makes_it_once(vault: Vault, works: Derivatives, sealed: Callable[..., Clip]) -> None:
    clip = sealed(footage.ts, TS)
    made: list[Derivative] = []
    works.finished = made.append
    threads = [threading.Thread(target=works.ensure, args=(clip,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert works.wait(clip, LONG_S).state == "done"
    assert len(made) == 1
    assert made[0].clip == clip.id
    assert files(vault) == [f"{clip.id.hex}.remux-1.json", f"{clip.id.hex}.remux-1.mp4"]


def test_it_is_announced_before_anyone_can_open_it(works: Derivatives, sealed: Callable[..., Clip]) -> None:
    clip = sealed(footage.ts, TS)
    seen: list[bool] = []

    def announce(_: Derivative) -> None:
        try:
            works.open(clip)
        except DerivativeMissingError:
            seen.append(True)

    works.finished = announce
    assert finished(works, clip).state == "done"
    assert seen == [True]


def test_when_it_cannot_be_announced_there_is_none(
    vault: Vault, works: Derivatives, sealed: Callable[..., Clip]
) -> None:
    clip = sealed(footage.ts, TS)

    def refuse(_: Derivative) -> None:
        raise StorageError("the log's disk is full")

    works.finished = refuse
    job = finished(works, clip)
    assert (job.state, job.error) == ("failed", "the log's disk is full")
    assert files(vault) == []
    works.finished = None
    assert works.ensure(clip).state == "failed"  # a failure is not tried again by itself
    works.ensure(clip, again=True)
    assert works.wait(clip, LONG_S).state == "done"


def test_changed_bytes_never_reach_the_decoder(vault: Vault, works: Derivatives, sealed: Callable[..., Clip]) -> None:
    """I8: a derivative is made from checked bytes only; one flipped bit and there is none."""
    clip = sealed(footage.ts, TS)
    path = vault.objects.path(clip.id)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    job = finished(works, clip)
    assert (job.state, job.error_key) == ("failed", "derivative.fixity")
    assert clip.id.hex in job.error
    assert files(vault) == []


def test_a_changed_chunk_list_is_found_out(vault: Vault, works: Derivatives, sealed: Callable[..., Clip]) -> None:
    """I8: the chunk list itself is checked against the root in the log."""
    clip = sealed(footage.ts, TS)
    path = vault.objects.chunk_list_path(clip.id)
    path.chmod(0o644)
    path.write_bytes(bytes(len(path.read_bytes())))
    assert finished(works, clip).error_key == "derivative.fixity"


def test_bytes_that_are_nothing_fail_with_a_reason(vault: Vault, works: Derivatives, tmp_path: Path) -> None:
    clip = vault.catalogue.clip(seal(vault, os.urandom(100_000), "noise.ts", media="video", facts=TS))
    job = finished(works, clip)
    assert (job.state, job.error_key) == ("failed", "derivative.unreadable")
    assert job.error
    assert files(vault) == []


def test_a_clip_without_media_has_no_derivative(vault: Vault, works: Derivatives) -> None:
    clip = vault.catalogue.clip(seal(vault, b"%PDF", "a.pdf", facts={"container": "pdf"}))
    with pytest.raises(DerivativeError):
        works.ensure(clip)


def test_a_full_disk_leaves_no_half_file(
    vault: Vault, works: Derivatives, sealed: Callable[..., Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = sealed(footage.ts, TS)
    monkeypatch.setattr(module, "RESERVE_BYTES", 1 << 60)
    job = finished(works, clip)
    assert (job.state, job.error_key) == ("failed", "derivative.disk_full")
    assert files(vault) == []


def test_a_derivative_that_grows_without_end_is_stopped(
    vault: Vault, works: Derivatives, sealed: Callable[..., Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = sealed(footage.ts, TS)
    monkeypatch.setattr(module, "_output_limit", lambda *_: 100_000)
    job = finished(works, clip)
    assert (job.state, job.error_key) == ("failed", "derivative.too_large")
    assert files(vault) == []


def test_a_child_without_memory_fails_alone(vault: Vault, sealed: Callable[..., Clip]) -> None:
    clip = sealed(footage.hevc_mp4, HEVC)
    works = Derivatives(vault.root / "derived", vault, memory_bytes=150 << 20)
    job = finished(works, clip)
    works.close()
    assert job.state == "failed"
    assert files(vault) == []


def test_a_child_beyond_its_deadline_is_ended(vault: Vault, sealed: Callable[..., Clip]) -> None:
    clip = sealed(footage.city, PROGRAM)
    works = Derivatives(vault.root / "derived", vault, deadline_s=0.3)
    job = finished(works, clip)
    works.close()
    assert (job.state, job.error_key) == ("failed", "derivative.timeout")
    assert files(vault) == []


def test_closing_stops_the_work_and_a_new_start_does_it(vault: Vault, sealed: Callable[..., Clip]) -> None:
    clip = sealed(footage.city, PROGRAM)
    works = Derivatives(vault.root / "derived", vault)
    works.ensure(clip)
    while works.ensure(clip).state == "pending":
        time.sleep(0.01)
    works.close()
    assert files(vault) == []
    again = Derivatives(vault.root / "derived", vault)
    assert finished(again, clip).state == "done"
    again.close()


def test_progress_rises_to_the_end(works: Derivatives, sealed: Callable[..., Clip]) -> None:
    clip = sealed(footage.city, PROGRAM)
    seen = [works.ensure(clip)]
    while seen[-1].state in {"pending", "running"}:
        time.sleep(0.02)
        seen.append(works.ensure(clip))
    assert seen[-1].state == "done"
    shares = [job.progress for job in seen]
    assert shares == sorted(shares)
    assert any(0 < share < 1 for share in shares)
    assert all(job.eta_s is None or job.eta_s >= 0 for job in seen)


def test_part_files_of_the_dead_are_swept(tmp_path: Path) -> None:
    folder = tmp_path / "ab"
    folder.mkdir()
    dead = folder / ".x.mp4.999999999-deadbeef.part"
    ours_once = folder / f".x.mp4.{os.getpid()}-deadbeef.part"
    alive = folder / ".x.mp4.1-deadbeef.part"
    kept = folder / "x.mp4"
    for path in (dead, ours_once, alive, kept):
        path.write_bytes(b"")
    Shelf(tmp_path).sweep()
    assert sorted(path.name for path in folder.iterdir()) == sorted([alive.name, kept.name])

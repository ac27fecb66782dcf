"""What an export writes, and what it promises before it writes."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import unicodedata
import zipfile
from importlib.resources import files
from typing import TYPE_CHECKING

import bagit
import pytest
from evidence import NAMES, SIZES, Scene, build, check_bag, content, flip, make_bag, unzip
from hypothesis import given
from hypothesis import strategies as st

from vault.errors import FixityMismatchError, RecordMismatchError
from vault.export.bag import manifest, media_name
from vault.export.writer import Export, ExportExistsError, ExportPlaceError, NothingToExportError, export
from vault.log.reader import LogReader
from vault.model import Digest
from vault.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return build(tmp_path_factory.mktemp("scene") / "vault")


@pytest.fixture
def scene(original: Scene, tmp_path: Path) -> Scene:
    return original.copy(tmp_path / "vault")


@pytest.fixture(scope="module")
def top(original: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked bag, for tests that only look."""
    folder = tmp_path_factory.mktemp("bag")
    return unzip(make_bag(original.copy(folder / "vault"), folder / "bag.zip"), folder / "unzipped")


def exports(scene: Scene, number: int = 1) -> list[int]:
    with Vault.open(scene.root) as vault:
        history = vault.history(str(scene.clips[number]))
    return [item.index for item in history if item.entry.statement.type == "clip.exported"]


def write(scene: Scene, out: Path, **options: object) -> Export:
    with Vault.open(scene.root) as vault:
        actor = vault.actor("li", role="supervisor", name="李四")
        return export(vault, scene.clips, scene.case, out, actor=actor, purpose="移送", **options)


# --- the bag ---------------------------------------------------------------------------------------------------------------


def test_the_bag_is_valid_for_the_stock_validator(top: Path) -> None:
    """EXT-24: RFC 8493."""
    bag = bagit.Bag(str(top))
    bag.validate()
    assert bag.info["External-Identifier"].startswith("urn:uuid:")
    assert bag.info[
        "Payload-Oxum"
    ] == f"{sum(f.stat().st_size for f in (top / 'data').rglob('*') if f.is_file())}." + str(
        sum(f.is_file() for f in (top / "data").rglob("*"))
    )


def test_footage_leaves_byte_for_byte_under_its_own_name(top: Path) -> None:
    """EXT-11: REC-22: Chinese names are kept; the exact name and the digest stand in the index."""
    index = json.loads((top / "data" / "clips.json").read_text("utf-8"))
    assert [item["name"] for item in index["clips"]] == list(NAMES)
    for number, item in enumerate(index["clips"]):
        data = (top / item["file"]).read_bytes()
        assert data == content(number)
        assert item["clip"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert item["file"] == f"data/media/{number + 1:03d}-{NAMES[number]}"


def test_every_entry_of_every_chain_is_there_with_proof_and_record(original: Scene, top: Path) -> None:
    """REC-07: the whole custody of each clip and of the case, the export itself last, all under one checkpoint."""
    index = json.loads((top / "data" / "clips.json").read_text("utf-8"))
    note = (top / "data" / "checkpoint").read_bytes()
    types = []
    for item in index["clips"]:
        chain = [json.loads((top / f"data/entries/{i}.json").read_bytes())["statement"] for i in item["entries"]]
        assert {said["clip"] for said in chain} == {item["clip"]}
        assert (chain[0]["type"], chain[-1]["type"], chain[-1]["export"]) == (
            "clip.sealed",
            "clip.exported",
            index["export"],
        )
        types.append([said["type"].partition(".")[2] for said in chain])
    assert types == [
        ["sealed", "acquired", "linked", "exported"],
        ["sealed", "acquired", "linked", "viewed", "exported"],
        ["sealed", "acquired", "exported"],
    ]
    assert index["case"] == {"case": original.case, "entries": [11, 12, 13]}
    assert index["context"] == [1, 2, 3, 15]  # two people, the docking, the clock reading
    for entry in (top / "data" / "entries").iterdir():
        assert (top / "data" / "proofs" / f"{entry.stem}.tlog-proof").read_bytes().endswith(b"\n\n" + note)
        body = json.loads(entry.read_bytes())["statement"].get("body")
        assert body is None or (top / "data" / "records" / f"{body[7:]}.json").is_file()


def test_the_forms_say_what_the_log_says_and_no_more(top: Path) -> None:
    """EXT-09: EXT-19: list and certificate: names, values, collector, device, clock, signature lines; no big words."""
    for name in ("电子数据清单.html", "certificate.html"):
        page = (top / "data" / name).read_text("utf-8")
        for number, clip in enumerate(NAMES):
            assert clip in page
            assert hashlib.sha256(content(number)).hexdigest() in page
        for word in (
            "张三",
            "李四",
            "执法记录仪 07",
            "SN-07",
            "完整性校验值",
            "签名",
            "桃林罚〔2026〕1号",
            "移送公安机关",
        ):
            assert word in page, word
        for claim in (
            "tamper-proof",
            "不可篡改",
            "admissible",
            "区块链",
            "court-certified",
            "http:",
            "https:",
            "<script",
        ):
            assert claim not in page, claim
    page = (top / "data" / "电子数据清单.html").read_text("utf-8")
    assert "+1.250 s ± 0.500 s" in page
    assert "2026-01-01T08:00:00+08:00 (依据 name, 可信度 medium)" in page
    assert "采集时已残缺" in page


def test_text_from_outside_cannot_become_markup_in_a_form(scene: Scene, tmp_path: Path) -> None:
    with Vault.open(scene.root) as vault:
        actor = vault.actor("x", role="admin", name="<script>alert(1)</script>")
        export(vault, scene.clips[:1], None, tmp_path / "b.zip", actor=actor, purpose="<img src=x>")
    top = unzip(tmp_path / "b.zip", tmp_path / "u")
    for name in ("电子数据清单.html", "certificate.html"):
        page = (top / "data" / name).read_text("utf-8")
        assert "<script" not in page
        assert "<img" not in page


def test_the_zip_can_be_unpacked_by_anything(original: Scene, top: Path) -> None:
    """Stored, not deflated; one top folder; names as UTF-8; no absolute or climbing name."""
    with zipfile.ZipFile(next(top.parent.parent.glob("*.zip"))) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.filename.startswith("liuhen-")
            assert ".." not in info.filename
            assert info.filename.isascii() or info.flag_bits & 0x800
            assert stat.S_IMODE(info.external_attr >> 16) == 0o644


def test_a_withheld_field_is_gone_and_every_proof_still_holds(scene: Scene, tmp_path: Path) -> None:
    """Disclosure by field: the address of a viewer stays home, the commitment leaves, verification passes."""
    bag = make_bag(scene, tmp_path / "bag.zip", withhold={"address", "clips", "case_head"})
    top = unzip(bag, tmp_path / "u")
    text = "".join(path.read_text("utf-8") for path in (top / "data" / "records").iterdir())
    assert "10.0.0.7" not in text
    assert '"clips":{"salt"' in text  # what anchors the bag cannot be withheld
    status, report = check_bag(top)
    assert (status, report["faults"]) == (0, [])
    assert "1 fields withheld" in report["steps"][5]["detail"]


def test_verifier_and_instructions_travel_with_the_package() -> None:
    """The wheel must carry them: they are data of the package `vault.export`."""
    for name in ("verify.py", "VERIFY.md"):
        assert files("vault.export").joinpath("offline", name).is_file()


# --- before and while it writes ----------------------------------------------------------------------------------------------


def test_who_takes_what_and_why_is_durable_before_the_first_byte_leaves(scene: Scene, tmp_path: Path) -> None:
    """I6: at the first byte of footage the published log already holds the export of every clip."""
    seen: list[int] = []

    with Vault.open(scene.root) as vault:
        reader = LogReader(scene.root / "log", vault.reader.verifiers, vault.origin)
        actor = vault.actor("li", role="supervisor")
        before = reader.checkpoint().size

        def on_progress(done: int, total: int) -> None:
            if not seen:
                checkpoint = reader.checkpoint()
                new = [data for _, data in reader.entries(before, checkpoint.size, checkpoint)]
                seen.append(sum(b'"type":"clip.exported"' in data for data in new))
                assert not (tmp_path / "bag.zip").exists()
                assert 0 < done <= total == sum(SIZES)

        export(vault, scene.clips, None, tmp_path / "bag.zip", actor=actor, purpose="移送", on_progress=on_progress)
    assert seen == [len(scene.clips)]


def test_damaged_footage_is_not_handed_out_and_the_attempt_stays_on_record(scene: Scene, tmp_path: Path) -> None:
    """I8: every byte is checked on its way out; no bag and no half of one is left, the entry is."""
    with Vault.open(scene.root) as vault:
        flip(vault.objects.path(scene.clips[2]), SIZES[2] - 1)
    with pytest.raises(FixityMismatchError, match=scene.clips[2].hex):
        write(scene, tmp_path / "bag.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["vault"]
    assert len(exports(scene)) == 1


def test_a_missing_record_stops_the_export(scene: Scene, tmp_path: Path) -> None:
    with Vault.open(scene.root) as vault:
        body = vault.history(str(scene.clips[1]))[0].entry.statement.fields["body"]
        vault.records.path(Digest.parse(str(body))).unlink()
    with pytest.raises(RecordMismatchError):
        write(scene, tmp_path / "bag.zip")
    assert not (tmp_path / "bag.zip").exists()


def test_an_existing_file_is_not_overwritten_and_nothing_is_logged(scene: Scene, tmp_path: Path) -> None:
    out = tmp_path / "bag.zip"
    out.write_bytes(b"precious")
    with pytest.raises(ExportExistsError):
        write(scene, out)
    assert out.read_bytes() == b"precious"
    assert exports(scene) == []
    done = write(scene, out, overwrite=True)
    assert zipfile.is_zipfile(out)
    assert (done.clips, done.size, done.path) == (3, out.stat().st_size, out)


def test_a_file_that_appears_meanwhile_is_not_overwritten(scene: Scene, tmp_path: Path) -> None:
    out = tmp_path / "bag.zip"
    with pytest.raises(ExportExistsError):
        write(scene, out, on_progress=lambda *_: out.write_bytes(b"theirs"))
    assert out.read_bytes() == b"theirs"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_an_export_of_nothing_or_to_nowhere_logs_nothing(scene: Scene, tmp_path: Path) -> None:
    with Vault.open(scene.root) as vault:
        actor = vault.actor("li", role="supervisor")
        empty = vault.open_case(actor, number="空案", title="").id
        before = vault.reader.checkpoint().size
        with pytest.raises(NothingToExportError):
            export(vault, [], empty, tmp_path / "bag.zip", actor=actor, purpose="x")
        with pytest.raises(ExportPlaceError):
            export(vault, scene.clips, None, tmp_path / "missing" / "bag.zip", actor=actor, purpose="x")
        assert vault.reader.checkpoint().size == before


def test_a_case_brings_all_its_clips_and_a_clip_named_twice_comes_once(scene: Scene, tmp_path: Path) -> None:
    with Vault.open(scene.root) as vault:
        actor = vault.actor("li", role="supervisor")
        case = export(vault, [], scene.case, tmp_path / "case.zip", actor=actor, purpose="x")
        twice = export(vault, [scene.clips[2]] * 2, None, tmp_path / "twice.zip", actor=actor, purpose="x")
    assert (case.clips, twice.clips) == (2, 1)
    assert check_bag(tmp_path / "case.zip")[0] == check_bag(tmp_path / "twice.zip")[0] == 0


def test_what_is_logged_during_an_export_does_not_break_the_bag(scene: Scene, tmp_path: Path) -> None:
    """A view of the same clip while the bag is written belongs to a later bag."""
    with Vault.open(scene.root) as vault:
        actor = vault.actor("li", role="supervisor")

        def on_progress(done: int, total: int) -> None:
            vault.open_view(actor, scene.clips[1], "同时调阅")

        export(vault, scene.clips, scene.case, tmp_path / "b.zip", actor=actor, purpose="x", on_progress=on_progress)
    assert check_bag(tmp_path / "b.zip")[0] == 0


# --- names -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("original_name", "expected"),
    [
        ("执法0001.MP4", "007-执法0001.MP4"),
        ("../../etc/passwd", "007-passwd"),
        ("..\\..\\evil.exe", "007-evil.exe"),
        ("a:b*c?.mp4", "007-a_b_c_.mp4"),
        ("100%.mp4", "007-100_.mp4"),
        ("cc\u202e4pm.exe", "007-cc_4pm.exe"),
        ("line\nbreak.mp4", "007-line_break.mp4"),
        ("trailing. . ", "007-trailing"),
        ("", "007"),
        ("..", "007"),
        ("\udcff.mp4", "007-_.mp4"),
        ("e\u0301.mp4", "007-é.mp4"),
    ],
)
def test_media_names_keep_what_is_safe(original_name: str, expected: str) -> None:
    assert media_name(7, original_name) == expected


@given(st.text(max_size=400))
def test_any_name_becomes_one_safe_part_of_a_path(original_name: str) -> None:
    name = media_name(1, original_name)
    assert re.fullmatch(r"001(-[^/\\:*?\"<>|%\x00-\x1f]+)?", name)
    assert unicodedata.is_normalized("NFC", name)
    assert len(name.encode()) <= 160
    assert not name.endswith((".", " "))
    assert manifest({name: "0" * 64}).count(b"\n") == 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_clip_beyond_four_gigabytes_fits(scene: Scene, tmp_path: Path) -> None:
    """ZIP64: sizes that 32 bits cannot say."""
    import os

    from vault import durable
    from vault.model import CHUNK_BYTES
    from vault.store import chunk_hash, chunk_list_root
    from vault.vault import Draft

    size, digest, chunks = (1 << 32) + 1, hashlib.sha256(), []
    with Vault.open(scene.root) as vault:
        actor = vault.actor("zhang", role="custodian")
        incoming = vault.objects.begin()
        os.truncate(incoming.fd, size)
        for at in range(0, size, CHUNK_BYTES):
            piece = bytes(min(CHUNK_BYTES, size - at))
            digest.update(piece)
            chunks.append(chunk_hash(piece))
        clip = Digest("sha256", digest.digest())
        vault.objects.place(incoming, clip, b"".join(chunks))
        durable.sync_file_system(scene.root)
        fields = {
            "clip": str(clip), "bytes": size, "chunk_bytes": CHUNK_BYTES, "media": "other", "condition": "whole",
            "chunk_root": chunk_list_root(b"".join(chunks)).hex(),
        }  # fmt: skip
        vault.submit([Draft(type="clip.sealed", actor=actor, fields=fields, private={"name": "big", "facts": {}})])
        export(vault, [clip], None, tmp_path / "big.zip", actor=actor, purpose="x")
    status, report = check_bag(tmp_path / "big.zip")
    assert (status, report["faults"]) == (0, [])
    assert f"{size} bytes" in report["steps"][6]["detail"]

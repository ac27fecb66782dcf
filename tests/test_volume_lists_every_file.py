import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.errors import EraseRefusedError, VolumeUnusableError
from hardware.recorder import Recorder, printable
from hardware.volume import VolumeRecorder


def _write(root: Path, path: str, data: bytes = b"x") -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return target


def _snapshot(root: Path) -> list[tuple[str, int, int, int, bytes]]:
    rows = []
    for folder, _, names in os.walk(root):
        for path in [Path(folder), *(Path(folder) / name for name in names)]:
            status = path.lstat()
            data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            rows.append((str(path), status.st_mode, status.st_mtime_ns, status.st_ctime_ns, data))
    return sorted(rows)


def _read(recorder: Recorder, path: str, offset: int = 0, step: int = 7) -> bytes:
    item = next(item for item in recorder.inventory().items if item.path == path)
    buffer, data = bytearray(step), b""
    with recorder.open(item, offset) as stream:
        while count := stream.readinto(buffer):
            data += buffer[:count]
    return data


@pytest.fixture
def card(tmp_path):
    root = tmp_path / "card"
    _write(root, "DCIM/100/AA00000_BB0000_20260304050607.MP4", b"video")
    _write(root, "DCIM/101/AA00000_BB0000_20260304050607.MP4", b"other video of the same name")
    _write(root, "DCIM/101/空文件.jpg", b"")
    _write(root, ".hidden/.nomedia", b"h")
    _write(root, "文档/说明.txt", b"text")
    _write(root, os.fsdecode(b"latin-\xe9.dat"), b"bytes")
    _write(root, "line\nfeed.txt", b"lf")
    return root


def test_every_regular_file_is_listed_whatever_its_type(card):
    with VolumeRecorder(card) as recorder:
        inventory = recorder.inventory()
        again = recorder.inventory()
    assert inventory == again
    assert inventory.complete
    assert [(item.path, item.size) for item in inventory.items] == [
        (".hidden/.nomedia", 1),
        ("DCIM/100/AA00000_BB0000_20260304050607.MP4", 5),
        ("DCIM/101/AA00000_BB0000_20260304050607.MP4", 28),
        ("DCIM/101/空文件.jpg", 0),
        (os.fsdecode(b"latin-\xe9.dat"), 5),
        ("line\nfeed.txt", 2),
        ("文档/说明.txt", 4),
    ]


def test_reading_gives_the_exact_bytes_and_resumes_at_an_offset(card):
    with VolumeRecorder(card) as recorder:
        assert _read(recorder, "DCIM/101/AA00000_BB0000_20260304050607.MP4") == b"other video of the same name"
        assert _read(recorder, "DCIM/101/AA00000_BB0000_20260304050607.MP4", offset=6) == b"video of the same name"
        assert _read(recorder, "DCIM/101/空文件.jpg") == b""
        assert _read(recorder, os.fsdecode(b"latin-\xe9.dat")) == b"bytes"


def test_nothing_on_the_source_changes(card):
    """I5: this driver only reads; it erases nothing, whatever was sealed."""
    before = _snapshot(card)
    with VolumeRecorder(card) as recorder:
        recorder.identity()
        for item in recorder.inventory().items:
            _read(recorder, item.path)
        with pytest.raises(EraseRefusedError):
            recorder.erase(recorder.inventory().items[0])
    assert _snapshot(card) == before


def test_links_and_devices_are_named_but_never_followed(card, tmp_path):
    _write(tmp_path, "outside/secret.txt", b"not of this card")
    (card / "link.txt").symlink_to(tmp_path / "outside/secret.txt")
    (card / "link_folder").symlink_to(tmp_path / "outside")
    (card / "loop").symlink_to(card)
    (card / "dangling").symlink_to("nowhere")
    os.mkfifo(card / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(card / "sock"))
        with VolumeRecorder(card) as recorder:
            inventory = recorder.inventory()
    assert {skip.path: skip.reason for skip in inventory.skipped} == {
        "dangling": "symbolic link, never followed",
        "link.txt": "symbolic link, never followed",
        "link_folder": "symbolic link, never followed",
        "loop": "symbolic link, never followed",
        "pipe": "fifo",
        "sock": "socket",
    }
    assert inventory.complete
    assert len(inventory.items) == 7


def test_a_tree_too_deep_makes_the_inventory_incomplete(card):
    _write(card, "a/b/c/d.txt")
    with VolumeRecorder(card, depth_max=2) as recorder:
        inventory = recorder.inventory()
    assert not inventory.complete
    assert [(skip.path, skip.reason) for skip in inventory.skipped] == [("a/b/c", "more than 2 folders deep")]


def test_one_file_can_be_named(card):
    with VolumeRecorder(card / "文档/说明.txt") as recorder:
        assert [item.path for item in recorder.inventory().items] == ["说明.txt"]
        assert recorder.identity().fields["scope"] == "one file: 说明.txt"


@pytest.mark.parametrize("name", ["absent", "loop_a", "pipe"])
def test_what_is_no_folder_is_refused(tmp_path, name):
    (tmp_path / "loop_a").symlink_to("loop_b")
    (tmp_path / "loop_b").symlink_to("loop_a")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VolumeUnusableError, match=name):
        VolumeRecorder(tmp_path / name)


def test_identity_is_equal_on_every_visit_and_differs_for_a_clone(card, tmp_path):
    clone = tmp_path / "clone"
    for item in card.rglob("*"):
        if item.is_file():
            _write(clone, str(item.relative_to(card)), item.read_bytes())
    serials = []
    for path in (card, card, Path(f"{card}/DCIM/.."), clone):
        with VolumeRecorder(path) as recorder:
            serials.append(recorder.identity().serial)
    assert serials[0] == serials[1] == serials[2]
    assert serials[3] != serials[0]
    with VolumeRecorder(card) as recorder:
        identity = recorder.identity()
    assert (identity.driver, identity.label) == ("volume", "card")
    assert identity.fields["serial_basis"]
    assert all(value.isprintable() for value in identity.fields.values())


def test_names_that_agree_claim_an_identity(card):
    with VolumeRecorder(card) as recorder:
        fields = recorder.identity().fields
    assert (fields["claimed_serial"], fields["claimed_officer"]) == ("AA00000", "BB0000")


def test_names_that_disagree_or_were_never_set_claim_nothing(card):
    _write(card, "DCIM/AA00000_CC0000_20260304050607.MP4")
    with VolumeRecorder(card) as recorder:
        fields = recorder.identity().fields
    assert fields["claimed_serial"] == "AA00000"
    assert "claimed_officer" not in fields
    factory = card / "factory"
    _write(factory, "0000000_000000_20260304050607.MP4")
    with VolumeRecorder(factory) as recorder:
        assert "claimed_serial" not in recorder.identity().fields


def test_an_unknown_clock_is_never_zero(card):
    from datetime import UTC, datetime

    with VolumeRecorder(card) as recorder:
        reading = recorder.read_clock(datetime.now(UTC))
    assert (reading.source, reading.offset_ms, reading.uncertainty_ms) == ("none", None, None)


def test_file_times_are_kept_exactly(card):
    target = card / "文档/说明.txt"
    os.utime(target, ns=(0, 1_772_600_767_123_456_789))
    os.utime(card / "line\nfeed.txt", ns=(0, -1))
    with VolumeRecorder(card) as recorder:
        items = {item.path: item for item in recorder.inventory().items}
    assert items["文档/说明.txt"].modified_ns == 1_772_600_767_123_456_789
    assert items["文档/说明.txt"].modified_at == "2026-03-04T05:06:07.123Z"
    assert items["line\nfeed.txt"].modified_at == "1969-12-31T23:59:59.999Z"


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
def test_printable_paths_stay_apart_and_encode(first, second):
    one, two = printable(os.fsdecode(first)), printable(os.fsdecode(second))
    assert (one == two) == (first == second)
    assert one.encode("utf-8")
    assert not any(character in one for character in "\n\r\x1b\x00\u202e")

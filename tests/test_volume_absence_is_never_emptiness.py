import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hardware.errors import DeviceGoneError, DeviceReadError, ItemChangedError
from hardware.volume import VolumeRecorder


@pytest.fixture
def card(tmp_path):
    root = tmp_path / "card"
    (root / "DCIM").mkdir(parents=True)
    (root / "DCIM/clip.mp4").write_bytes(b"0123456789" * 100)
    (root / "DCIM/other.mp4").write_bytes(b"other")
    return root


@pytest.fixture
def recorder(card):
    with VolumeRecorder(card) as recorder:
        yield recorder


def _clip(recorder):
    return recorder.inventory().items[0]


def _drain(stream) -> int:
    buffer, total = bytearray(64), 0
    while count := stream.readinto(buffer):
        total += count
    return total


def test_a_volume_swapped_for_an_empty_folder_is_gone_not_empty(card, recorder, tmp_path):
    item = _clip(recorder)
    stream = recorder.open(item)
    card.rename(tmp_path / "pulled")
    card.mkdir()
    assert not recorder.present()
    with pytest.raises(DeviceGoneError):
        recorder.inventory()
    with pytest.raises(DeviceGoneError):
        recorder.identity()
    with stream, pytest.raises(DeviceGoneError):
        _drain(stream)


def test_a_volume_whose_path_is_gone_is_gone(card, recorder):
    item = _clip(recorder)
    shutil.rmtree(card)
    with pytest.raises(DeviceGoneError):
        recorder.inventory()
    with pytest.raises(DeviceGoneError):
        recorder.open(item)


def test_a_closed_recorder_is_not_present(recorder):
    recorder.close()
    recorder.close()
    assert not recorder.present()


def test_an_unreadable_folder_is_named_and_makes_the_inventory_incomplete(card):
    _in_namespace(
        ["-U"],  # also root loses its right to read everything
        """
        from hardware.volume import VolumeRecorder
        (root / "locked").mkdir(mode=0)
        inventory = VolumeRecorder(root).inventory()
        assert not inventory.complete
        found = [(skip.path, skip.reason) for skip in inventory.skipped]
        assert found == [("locked", "folder cannot be listed: Permission denied")], found
        assert len(inventory.items) == 2
        """,
        card,
    )


def test_an_unreadable_file_is_listed_and_named_when_opened(card):
    _in_namespace(
        ["-U"],
        """
        from hardware.errors import DeviceReadError
        from hardware.volume import VolumeRecorder
        (root / "DCIM/clip.mp4").chmod(0)
        recorder = VolumeRecorder(root)
        inventory = recorder.inventory()
        assert inventory.complete
        try:
            recorder.open(inventory.items[0])
        except DeviceReadError as err:
            assert (err.path, err.reason) == ("DCIM/clip.mp4", "Permission denied")
        else:
            raise SystemExit("opened")
        """,
        card,
    )


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda path: path.write_bytes(b"0123456789" * 101), "size=1000 became 1010"),
        (lambda path: path.write_bytes(b"9876543210" * 100), "mtime_ns="),
        (lambda path: os.utime(path, ns=(0, 5)), "became 5"),
        (lambda path: path.chmod(0o600), "ctime_ns="),
        (lambda path: (path.rename(path.with_name("old")), path.write_bytes(b"0123456789" * 100)), "inode="),
        (lambda path: path.unlink(), "no longer there"),
        (lambda path: (path.unlink(), path.symlink_to("other.mp4")), "something else"),
        (lambda path: (path.unlink(), path.mkdir()), "something else"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "something else"),
        (lambda path: (path.parent.rename(path.parents[1] / "D"), path.parent.symlink_to("D")), "something else"),
    ],
    ids=["grown", "rewritten", "touched", "mode", "replaced", "deleted", "link", "folder", "fifo", "folder_link"],
)
def test_a_file_that_changed_since_the_inventory_is_not_opened(card, recorder, change, names):
    item = _clip(recorder)
    change(card / item.path)
    with pytest.raises(ItemChangedError) as caught:
        recorder.open(item)
    assert names in caught.value.change
    assert "Stop the recording" in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda path: path.open("ab").write(b"more" * 1000), "grown"),
        (lambda path: os.truncate(path, 500), "size=1000 became 500"),
        (lambda path: path.write_bytes(b"9876543210" * 100), "mtime_ns="),
        (lambda path: path.unlink(), "deleted"),
        (lambda path: path.write_bytes(b""), "size=1000 became 0"),
    ],
    ids=["grows", "cut", "rewritten", "deleted", "emptied"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_file_that_changes_while_it_is_read_never_ends_well(card, recorder, change, names):
    item = _clip(recorder)
    with recorder.open(item) as stream:
        assert stream.readinto(bytearray(100)) == 100
        change(card / item.path)
        with pytest.raises(ItemChangedError) as caught:
            _drain(stream)
    assert names in caught.value.change


def test_reading_by_descriptor_is_judged_by_unchanged(card, recorder):
    item = _clip(recorder)
    with recorder.open(item) as stream:
        assert len(os.read(stream.fileno(), 4096)) == 1000
        assert stream.unchanged() is True
        os.utime(card / item.path, ns=(0, 5))
        with pytest.raises(ItemChangedError):
            stream.unchanged()


def test_a_read_error_names_path_offset_and_reason():
    with VolumeRecorder(Path("/proc/self/mem")) as recorder:  # address 0 is mapped nowhere: a real EIO
        (item,) = recorder.inventory().items
        with recorder.open(item) as stream, pytest.raises(DeviceReadError) as caught:
            stream.readinto(bytearray(10))
    assert (caught.value.path, caught.value.offset, caught.value.reason) == ("mem", 0, "Input/output error")


def test_paths_that_were_never_in_an_inventory_lead_nowhere(card, recorder, tmp_path):
    from dataclasses import replace

    (tmp_path / "secret").write_bytes(b"x")
    item = _clip(recorder)
    for path in ("../secret", "DCIM/../../secret", str(tmp_path / "secret"), "", "DCIM//clip.mp4"):
        with pytest.raises(ItemChangedError):
            recorder.open(replace(item, path=path))


def _in_namespace(options: list[str], script: str, folder: Path) -> None:
    """Run `script` with other rights than ours; skip where the kernel does not let us."""
    if subprocess.run(["unshare", *options, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip(f"this machine does not allow `unshare {' '.join(options)}`")
    source = "import subprocess, sys\nfrom pathlib import Path\nroot = Path(sys.argv[1])\n" + textwrap.dedent(script)
    done = subprocess.run(
        ["unshare", *options, sys.executable, "-P", "-c", source, str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_card_unmounted_under_our_hands_is_gone(tmp_path):
    """The descriptor still lists the files, but nothing more is believed."""
    _in_namespace(
        ["-rm"],
        """
        from hardware.errors import DeviceGoneError
        from hardware.volume import VolumeRecorder
        subprocess.run(["mount", "-t", "tmpfs", "none", str(root)], check=True)
        (root / "clip.mp4").write_bytes(b"x" * 100)
        recorder = VolumeRecorder(root)
        assert [item.path for item in recorder.inventory().items] == ["clip.mp4"]
        stream = recorder.open(recorder.inventory().items[0])
        subprocess.run(["umount", "-l", str(root)], check=True)
        for act in (recorder.inventory, stream.unchanged):
            try:
                act()
            except DeviceGoneError:
                continue
            raise SystemExit("believed")
        """,
        tmp_path,
    )


def test_another_file_system_below_the_card_is_named_not_entered(tmp_path):
    _in_namespace(
        ["-rm"],
        """
        from hardware.volume import VolumeRecorder
        (root / "inner").mkdir()
        (root / "same").mkdir()
        (root / "folder").mkdir()
        (root / "folder/file").write_bytes(b"x")
        subprocess.run(["mount", "-t", "tmpfs", "none", str(root / "inner")], check=True)
        subprocess.run(["mount", "--bind", str(root / "folder"), str(root / "same")], check=True)
        (root / "inner/file").write_bytes(b"x")
        inventory = VolumeRecorder(root).inventory()
        assert len(inventory.items) == 1, inventory
        reasons = sorted(skip.reason for skip in inventory.skipped)
        assert reasons == ["another file system is mounted here", "the same folder is listed elsewhere"], reasons
        """,
        tmp_path,
    )

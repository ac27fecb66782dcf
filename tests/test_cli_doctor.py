"""What `liuhen doctor` finds, and that it changes nothing."""

from __future__ import annotations

import time

import pytest

from api import health
from api.health import Finding, clock, file_system, file_system_type, free_space


def checks(ended):
    return {item["check"]: item for item in ended.document["checks"]}


def listing(root):
    return sorted(
        (str(path), path.stat().st_size) for path in root.rglob("*") if path.suffix not in {".db-wal", ".db-shm"}
    )


@pytest.fixture
def local_disk(monkeypatch):
    """The machine's own disk is not what these tests are about."""
    monkeypatch.setattr(health, "file_system", lambda _: Finding(check="file system", state="ok", detail="ext4"))
    monkeypatch.setattr(health, "free_space", lambda _: Finding(check="free space", state="ok", detail="much"))


def test_a_good_vault_is_healthy_and_left_alone(vault, liuhen, local_disk):
    vault.close()
    before = listing(vault.root)
    ended = liuhen("doctor", "--json")
    assert ended.status == 0, ended.out
    assert ended.document["healthy"] is True
    assert {item["result"] for item in checks(ended).values()} == {"ok"}
    assert listing(vault.root) == before


def test_a_missing_vault_is_a_finding_with_a_remedy(liuhen):
    ended = liuhen("doctor", "--json")
    assert ended.status == 1
    assert checks(ended)["vault"]["result"] == "fail"
    assert "liuhen init" in checks(ended)["vault"]["remedy"]


def test_keys_that_others_can_read_are_found(vault, liuhen):
    (vault.root / "keys" / "log.key").chmod(0o644)
    ended = liuhen("doctor", "--json")
    assert ended.status == 1
    assert "log.key 0644" in checks(ended)["keys"]["detail"]


def test_a_forged_checkpoint_ends_with_its_own_status(vault, liuhen):
    vault.close()
    checkpoint = vault.root / "log" / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"\n1\n", b"\n7\n"))
    assert 20 <= liuhen("doctor").status <= 29


def test_a_clock_that_went_back_is_found(vault, liuhen, monkeypatch):
    past = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr("api.health.time.time_ns", lambda: past)
    ended = liuhen("doctor", "--json")
    assert ended.status == 1
    assert checks(ended)["log head"]["result"] == "fail"


def test_a_clock_before_our_own_files_is_distrusted():
    assert clock(1_000_000_000_000).state == "fail"
    assert clock(time.time_ns() // 1_000_000).state == "ok"


@pytest.mark.parametrize(
    ("kind", "state"), [("nfs4", "fail"), ("cifs", "fail"), ("tmpfs", "warn"), ("ext4", "ok"), ("xfs", "ok")]
)
def test_network_file_systems_are_refused(tmp_path, monkeypatch, kind, state):
    monkeypatch.setattr(health, "file_system_type", lambda _: kind)
    assert file_system(tmp_path).state == state


def test_the_file_system_of_a_place_that_is_not_there_yet_is_its_parents(tmp_path):
    assert file_system_type(tmp_path / "a" / "b") == file_system_type(tmp_path) != "?"


def test_little_room_is_said_before_it_is_none(tmp_path, monkeypatch):
    def usage(free):
        return lambda _: type("Usage", (), {"free": free, "total": 100 * health.GIB})()

    for free, state in ((health.GIB, "fail"), (10 * health.GIB, "warn"), (50 * health.GIB, "ok")):
        monkeypatch.setattr("api.health.shutil.disk_usage", usage(free))
        assert free_space(tmp_path).state == state


def test_plain_output_names_every_check(vault, liuhen):
    out = liuhen("doctor").out
    for check in ("versions", "file system", "free space", "clock", "keys", "log head", "catalogue"):
        assert f"{check}\t" in out


def test_no_command_touches_a_vault_on_a_network_file_system(vault, liuhen, monkeypatch):
    vault.close()
    monkeypatch.setattr(health, "file_system_type", lambda _: "nfs4")
    assert liuhen("clip", "list", "--json").error["type"] == "NetworkFileSystemError"
    assert liuhen("init", "--json").error["type"] == "NetworkFileSystemError"

"""I7: the catalogue is a projection."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from vault.catalogue import migrations, schema
from vault.catalogue.rebuild import rebuild
from vault.errors import CatalogueMismatchError, VaultBusyError
from vault.model import Digest
from vault.vault import Draft, Vault

if TYPE_CHECKING:
    from pathlib import Path


def fill(vault: Vault) -> None:
    """Log one of everything that the catalogue shows."""
    actor = vault.actor("张三", role="custodian", name="张三")
    clip = Digest.of(b"footage")
    base: dict[str, str | int] = {"device": "dev-1", "session": "s1"}
    sealed: dict[str, str | int] = {
        "clip": str(clip), "bytes": 7, "chunk_bytes": 1 << 20, "chunk_root": "00" * 32,
        "media": "video", "condition": "whole",
    }  # fmt: skip
    facts = {"duration_ms": 1500, "start": {"at": "2026-03-04T05:06:07", "source": "name", "confidence": "medium"}}
    vault.submit(
        [
            Draft(type="dock.opened", actor=actor, fields={**base, "driver": "volume"}, private={"label": "卡"}),
            Draft(type="device.inventoried", actor=actor, fields={**base, "files": 1, "bytes": 7}, private={"f": []}),
            Draft(type="clip.sealed", actor=actor, fields=sealed, private={"name": "一.mp4", "facts": facts}),
            Draft(
                type="clip.acquired",
                actor=actor,
                fields={"clip": str(clip), **base, "bytes": 7, "outcome": "sealed"},
                private={"path": "DCIM/一.mp4", "modified_at": "2026-03-04T05:06:09", "fingerprint": "1"},
            ),
            Draft(type="acquisition.failed", actor=actor, fields=base, private={"path": "b", "reason": "EIO"}),
            Draft(
                type="clip.derived",
                actor=actor,
                fields={"clip": str(clip), "recipe": "proxy-1", "output": str(Digest.of(b"copy")), "bytes": 4},
            ),
            Draft(
                type="dock.closed",
                actor=actor,
                fields={**base, "sealed": 1, "duplicate": 0, "damaged": 0, "failed": 0},
            ),
        ]
    )
    case = vault.open_case(actor, number="桃林罚〔2026〕1号", title="滥伐林木", target="某公司")
    other = vault.open_case(actor, number="2", title="t")
    vault.link(actor, clip, case.id, "现场")
    vault.link(actor, clip, other.id)
    vault.unlink(actor, clip, other.id, "误")
    vault.open_view(actor, clip, "日常复核")


def test_rebuild_ends_equal(tmp_path: Path) -> None:
    """I7: EXT-25: the catalogue deleted and made again from log and records shows the same, row by row."""
    with Vault.init(tmp_path / "v") as vault:
        fill(vault)
        before = vault.catalogue.dump()
        assert all(before.values()), [name for name, rows in before.items() if not rows]
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / "v" / f"catalogue.db{suffix}").unlink(missing_ok=True)
    with pytest.raises(CatalogueMismatchError, match="missing"):
        Vault.open(tmp_path / "v")
    size = rebuild(tmp_path / "v")
    with Vault.open(tmp_path / "v") as vault:
        assert vault.catalogue.dump() == before
        assert vault.reader.checkpoint().size == size
        fill_again = vault.actor("张三", role="custodian")
        assert fill_again.name == "张三"
        assert vault.submit(
            [Draft(type="case.opened", actor=fill_again, fields={"case": "c"}, private={"number": "3"})]
        )


def test_a_falsified_catalogue_is_put_right_by_rebuild(tmp_path: Path) -> None:
    """I7: rows changed behind our back do not survive."""
    with Vault.init(tmp_path / "v") as vault:
        fill(vault)
        before = vault.catalogue.dump()
    with sqlite3.connect(tmp_path / "v" / "catalogue.db") as database:
        database.execute("UPDATE clip SET condition = 'damaged'")
        database.execute("DELETE FROM view")
    rebuild(tmp_path / "v")
    with Vault.open(tmp_path / "v") as vault:
        assert vault.catalogue.dump() == before


def test_rebuild_needs_the_vault_alone(tmp_path: Path) -> None:
    with Vault.init(tmp_path / "v"), pytest.raises(VaultBusyError):
        rebuild(tmp_path / "v")


def test_an_interrupted_projection_is_finished_by_the_next_open(tmp_path: Path) -> None:
    """I7: dead between the log's commit and the projection, the catalogue catches up from the log."""
    with Vault.init(tmp_path / "v") as vault:
        fill(vault)
        before = vault.catalogue.dump()
    with sqlite3.connect(tmp_path / "v" / "catalogue.db") as database:
        database.execute("DELETE FROM view")
        database.execute("UPDATE projected SET size = size - 1")
    with Vault.open(tmp_path / "v") as vault:
        assert vault.catalogue.dump() == before


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    with Vault.init(tmp_path / "v") as vault, vault.catalogue.engine.connect() as connection:
        assert migrations.revision(connection) == migrations.HEAD
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, _: kind != "table" or name in schema.metadata.tables}
        )
        assert compare_metadata(context, schema.metadata) == []

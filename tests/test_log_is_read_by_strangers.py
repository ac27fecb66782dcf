"""`log/` read by a program we did not write: tlog-scales, from PyPI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey, VkeySet
from tlog_scales.tiles import leaf_hash
from tlog_scales.tlog import Checkpoint

from vault.log.sequencer import Log
from vault.testing import FrozenClock, create_log, make_statements

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("sizes", [[1], [5, 250, 2], [256], [300, 211, 65_100]])
def test_tlog_scales_reads_signature_root_entries_and_proofs(tmp_path: Path, sizes: list[int]) -> None:
    """I3: an independent reader finds every size consistent with the last and every entry where we said."""
    receipts, checkpoints = [], []
    with Log.open(tmp_path, create_log(tmp_path), now_ms=FrozenClock()) as log:
        for size in sizes:
            start = len(receipts)
            receipts += log.append(make_statements(start, start + size))
            checkpoints.append(log.checkpoint)
    directory = tmp_path / "log"
    reader = TilesReader(LocalBackend(directory))
    newest = reader.get_checkpoint()
    keys = VkeySet(Vkey.from_string((directory / "vkey").read_text().strip()))
    assert newest.size == len(receipts)
    assert len(keys.verify(newest.signatures, newest)) == 1
    assert reader.calculate_root_hash() == newest.root_hash
    for receipt in receipts[:: max(1, len(receipts) // 12)]:
        assert reader.get_entry(receipt.index) == receipt.data
        proof = reader.get_inclusion_proof(receipt.index, newest.size)
        proof.check(leaf_hash(receipt.data), newest.root_hash)
    for old in checkpoints:
        seen = Checkpoint.from_text(old.note.decode())
        assert len(keys.verify(seen.signatures, seen)) == 1
        reader.get_consistency_proof(old.size, newest.size).check(old.root, newest.root_hash)

"""The seal of a clip, checked now: entry, proof and signed checkpoint, as an outsider would check them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vault.errors import IntegrityError
from vault.log.merkle import leaf_hash
from vault.log.proof import TlogProof

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vault.model import Clip
    from vault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class SealCheck:
    """What the check found; `fault` is empty when the seal holds."""

    size: int  # entries under the checkpoint
    hashes: int  # length of the inclusion proof
    leaf_hash: str
    fault: str = ""


def check(vault: Vault, clip: Clip) -> SealCheck:
    """Check a clip's seal; never raises for what the check finds, so that the page can show it."""
    try:
        # (1) the entry at the clip's index is the seal of exactly this digest
        index, entry = vault.sealed_entry(clip)
        data = entry.encode()
        # (2) the very file that is offered for download leads from the entry's bytes to a signed root of this log
        proof = TlogProof.parse(vault.proof(index))
        checkpoint = proof.verify(data, vault.reader.verifiers, vault.origin)
        # (3) what the catalogue shows is what the entry says
        fault = _difference(clip, entry.statement.fields)
    except IntegrityError as err:
        return SealCheck(size=0, hashes=0, leaf_hash="", fault=str(err))
    return SealCheck(size=checkpoint.size, hashes=len(proof.hashes), leaf_hash=leaf_hash(data).hex(), fault=fault)


def _difference(clip: Clip, fields: Mapping[str, str | int]) -> str:
    shown = {
        "bytes": clip.size,
        "chunk_bytes": clip.chunk_bytes,
        "chunk_root": clip.chunk_root.hex(),
        "media": clip.media,
        "condition": clip.condition,
    }
    wrong = [name for name, value in shown.items() if fields.get(name) != value]
    return f"clip {clip.id}: catalogue and entry {clip.sealed_index} differ in {', '.join(wrong)}" if wrong else ""

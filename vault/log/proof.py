"""C2SP tlog-proof: one file that shows an entry to be in the log, to be checked without us. Pure.

c2sp.org/tlog-proof@v1
index <decimal>
<base64 hash>            zero or more, from the leaf's sibling upward

<checkpoint, verbatim>
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vault.errors import EntryInvalidError
from vault.log.checkpoint import Checkpoint, decode_base64, encode_base64, verify_checkpoint
from vault.log.merkle import leaf_hash, verify_inclusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vault.log.checkpoint import Verifier

HEADER = "c2sp.org/tlog-proof@v1"
HASHES_MAX = 63
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """The parts of a proof file; nothing in it is believed before `verify`."""

    index: int
    hashes: tuple[bytes, ...]
    note: bytes  # the signed checkpoint
    extra: bytes | None = None  # for people; no signature covers it

    def encode(self) -> bytes:
        """Return the file."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines += [encode_base64(each) for each in self.hashes]
        return "\n".join([*lines, "", ""]).encode() + self.note

    @classmethod
    def parse(cls, data: bytes) -> TlogProof:
        """Read a proof file; raises EntryInvalidError, or CheckpointInvalidError for bad base64."""
        head, separator, note = data.partition(b"\n\n")
        lines = head.decode("ascii", errors="replace").split("\n")
        if not separator or lines[0] != HEADER:
            raise EntryInvalidError("not a tlog-proof (version 1)")
        extra = decode_base64(lines.pop(1)[6:]) if len(lines) > 1 and lines[1].startswith("extra ") else None
        index = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
        if index is None:
            raise EntryInvalidError("the tlog-proof names no index")
        hashes = tuple(decode_base64(line) for line in lines[2:])
        if len(hashes) > HASHES_MAX or any(len(each) != 32 for each in hashes):
            raise EntryInvalidError(f"the tlog-proof of entry {index[1]} has no proper hashes")
        return cls(index=int(index[1]), hashes=hashes, note=note, extra=extra)

    def verify(self, entry: bytes, verifiers: Sequence[Verifier], origin: str) -> Checkpoint:
        """Return the checkpoint under which `entry` stands at `index`; raises CheckpointInvalidError, EntryInvalidError.

        (1) the leaf is hashed from the entry's bytes, (2) the checkpoint is of this log and signed by it,
        (3) the hashes lead from the leaf to its root.
        """
        leaf = leaf_hash(entry)  # (1)
        checkpoint = verify_checkpoint(self.note, verifiers, origin)  # (2)
        verify_inclusion(  # (3)
            index=self.index, size=checkpoint.size, leaf=leaf, proof=self.hashes, root=checkpoint.root
        )
        return checkpoint

"""Documents: PDF, and what is packed as ZIP (docx, xlsx, odt)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.probing.structure.source import DamageError

if TYPE_CHECKING:
    from ingest.probing.structure.source import Source

PDF_TAIL_BYTES = 8 << 10  # readers look for the end in the last 1 KiB; scanners append padding
ZIP_TAIL_BYTES = 22 + (1 << 16)  # the end record and the longest comment after it


def check_pdf(source: Source) -> dict[str, object]:
    """The end mark."""
    if b"%%EOF" not in source.read(max(0, source.size - PDF_TAIL_BYTES), PDF_TAIL_BYTES):
        raise DamageError("cut off: the end mark (%%EOF) is missing")
    return {}


def check_zip(source: Source) -> dict[str, object]:
    """The end record of the archive."""
    tail = source.read(max(0, source.size - ZIP_TAIL_BYTES), ZIP_TAIL_BYTES)
    record = tail[at:] if (at := tail.rfind(b"PK\5\6")) >= 0 else b""
    if len(record) < 22 or len(record) < 22 + int.from_bytes(record[20:22], "little"):
        raise DamageError("cut off: the directory at the end is missing")
    return {}

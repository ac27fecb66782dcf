"""The bag as a format: file names, manifests and tag files of BagIt 1.0 (RFC 8493). Pure; writing is `vault.export.writer`."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

BAGIT_TXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
NAME_BYTES_MAX = 150  # UTF-8; some file systems stop at 143 of 255 with encryption, Windows paths at 260 in all
SUFFIX_CHARACTERS_MAX = 10
RESERVED = frozenset('<>:"/\\|?*%')  # of Windows, and the percent sign that BagIt would have to escape


def media_name(number: int, original: str) -> str:
    """Return the name of the `number`th footage file: `001-<original>`, safe on every system, unique by its number.

    Only the last part of the original path is kept; the exact one stands in the record of the acquisition.
    """
    base = original.replace("\\", "/").rstrip("/").rpartition("/")[2]
    text = "".join("_" if _unsafe(c) else c for c in unicodedata.normalize("NFC", base)).rstrip(". ")
    stem, dot, suffix = text.rpartition(".")
    if not dot or len(suffix) > SUFFIX_CHARACTERS_MAX:
        stem, dot, suffix = text, "", ""
    kept = _cut(stem, NAME_BYTES_MAX - len((dot + suffix).encode()))
    return f"{number:03d}-{kept}{dot}{suffix}".rstrip("-. ") or f"{number:03d}"


def _unsafe(character: str) -> bool:
    # Categories C*: controls, bidirectional overrides that disguise a suffix, lone surrogates of undecodable names.
    return character in RESERVED or unicodedata.category(character).startswith("C")


def _cut(text: str, bytes_max: int) -> str:
    return text.encode()[:bytes_max].decode("utf-8", "ignore")


def manifest(digests: Mapping[str, str]) -> bytes:
    """Return a manifest: one line of `<64 hex>  <name>` a file, in order of name."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


def bag_info(*, export: str, made_at: datetime, software: str, payload_bytes: int, payload_files: int) -> bytes:
    """Return bag-info.txt."""
    lines = {
        "Bag-Software-Agent": software,
        "Bagging-Date": f"{made_at:%Y-%m-%d}",
        "External-Identifier": f"urn:uuid:{export}",
        "External-Description": "Original footage with the proof of its custody; check it with verify.py / 音像原件及保管链证明",
        "Payload-Oxum": f"{payload_bytes}.{payload_files}",
    }
    return "".join(f"{name}: {value}\n" for name, value in lines.items()).encode()


def fingerprint(vkey: str) -> str:
    """Return what a person compares with paper: SHA-256 of the vkey line with its newline, as `sha256sum` prints it."""
    return hashlib.sha256(vkey.encode() + b"\n").hexdigest()

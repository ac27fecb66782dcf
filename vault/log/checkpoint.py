"""C2SP signed notes and checkpoints: parse, verify, build; Ed25519 (type 0x01). Pure.

A note is a text that ends in a newline, an empty line, and one line per signature. Bytes that were only parsed are an
`UnverifiedCheckpoint`; only `verify_checkpoint` makes a `Checkpoint`, so whoever holds one knows the log's key signed it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vault.errors import CheckpointInvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

ED25519 = 1
NOTE_BYTES_MAX = 128 << 10  # 16 signature lines of post-quantum size, with room
SIGNATURES_MAX = 64
SIZE_MAX = (1 << 63) - 1  # what other readers hold in a signed 64-bit integer

_VKEY = re.compile(r"([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key that may sign notes: the log's own."""

    name: str
    key_id: int
    public_key: bytes  # 32 bytes, Ed25519

    @classmethod
    def of(cls, name: str, public_key: bytes) -> Verifier:
        """Name a raw Ed25519 public key."""
        check_key_name(name)
        return cls(name, key_id(name, public_key), public_key)

    @classmethod
    def parse(cls, vkey_text: str) -> Verifier:
        """Read `name+hex key id+base64 key`; raises CheckpointInvalidError."""
        match = _VKEY.fullmatch(vkey_text)
        if match is None:
            raise CheckpointInvalidError(f"not a verifier key: {vkey_text[:100]!r}")
        key = decode_base64(match[3])
        if len(key) != 33 or key[0] != ED25519:
            raise CheckpointInvalidError(f"verifier key {match[1]}: only Ed25519 keys are known")
        verifier = cls.of(match[1], key[1:])
        if verifier.key_id != int(match[2], 16):
            raise CheckpointInvalidError(
                f"verifier key {match[1]}: the key id says {match[2]}, the key gives {verifier.key_id:08x}"
            )
        return verifier

    @property
    def vkey(self) -> str:
        """The key as text."""
        return f"{self.name}+{self.key_id:08x}+{encode_base64(bytes([ED25519]) + self.public_key)}"

    def accepts(self, message: bytes, signature: bytes) -> bool:
        """Say whether `signature` is this key's over `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError):  # ValueError: no point of the curve
            return False
        return True


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line of a note, not yet verified."""

    name: str
    key_id: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class UnverifiedCheckpoint:
    """What a note says; nobody has checked who says it."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[NoteSignature, ...]
    note: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head that the log's key signed. Made by `verify_checkpoint` and by the signer only."""

    origin: str
    size: int
    root: bytes
    note: bytes  # the signed note, byte for byte


# --- notes ---------------------------------------------------------------------------------------------------------


def parse_note(data: bytes) -> tuple[bytes, tuple[NoteSignature, ...]]:
    """Split a note into its text (final newline included) and its signature lines; raises CheckpointInvalidError."""
    if len(data) > NOTE_BYTES_MAX:
        raise CheckpointInvalidError(f"a note of {len(data)} bytes is longer than {NOTE_BYTES_MAX}")
    try:
        note = data.decode()
    except UnicodeDecodeError as err:
        raise CheckpointInvalidError("the note is not UTF-8") from err
    if any(character < " " and character != "\n" for character in note):
        raise CheckpointInvalidError("the note has control characters")
    text, separator, block = note.rpartition("\n\n")  # the last empty line: the text itself may have some
    if not separator or not block.endswith("\n"):
        raise CheckpointInvalidError("the note has no signatures, or is cut off")
    lines = block[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise CheckpointInvalidError(f"the note has {len(lines)} signatures, more than {SIGNATURES_MAX}")
    return f"{text}\n".encode(), tuple(_parse_signature(line) for line in lines)


def build_note(text: bytes, signatures: Sequence[NoteSignature]) -> bytes:
    """Join a text and its signatures into a note."""
    lines = [f"— {each.name} {encode_base64(each.key_id.to_bytes(4, 'big') + each.signature)}\n" for each in signatures]
    return text + b"\n" + "".join(lines).encode()


def verify_note(data: bytes, verifiers: Sequence[Verifier]) -> bytes:
    """Return the text of a note that at least one of `verifiers` signed; raises CheckpointInvalidError."""
    text, signatures = parse_note(data)
    _verify_signatures(text, signatures, verifiers)
    return text


def _parse_signature(line: str) -> NoteSignature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—":
        raise CheckpointInvalidError(f"not a signature line: {line[:100]!r}")
    check_key_name(parts[1])
    raw = decode_base64(parts[2])
    if len(raw) < 5:
        raise CheckpointInvalidError(f"the signature of {parts[1]} is too short")
    return NoteSignature(parts[1], int.from_bytes(raw[:4], "big"), raw[4:])


def _verify_signatures(text: bytes, signatures: Sequence[NoteSignature], verifiers: Sequence[Verifier]) -> None:
    known = {(each.name, each.key_id): each for each in verifiers}
    verified = 0
    for signature in signatures:
        verifier = known.get((signature.name, signature.key_id))
        if verifier is None:
            continue  # a witness or a key to come: no reason to refuse, none to believe
        if not verifier.accepts(text, signature.signature):
            raise CheckpointInvalidError(f"the signature of {signature.name} does not fit the note")
        verified += 1
    if verified == 0:
        raise CheckpointInvalidError(f"no signature by {', '.join(each.name for each in verifiers) or 'a known key'}")


# --- checkpoints ---------------------------------------------------------------------------------------------------


def checkpoint_text(origin: str, size: int, root: bytes) -> bytes:
    """Return the three lines that a checkpoint's signature covers. No extension lines: monitors cannot audit them."""
    if not origin or any(character < " " for character in origin):
        raise CheckpointInvalidError(f"not an origin: {origin[:100]!r}")  # a newline would let it forge the next line
    return f"{origin}\n{size}\n{encode_base64(root)}\n".encode()


def parse_checkpoint(data: bytes) -> UnverifiedCheckpoint:
    """Read a checkpoint without checking its signatures; raises CheckpointInvalidError."""
    text, signatures = parse_note(data)
    lines = text.decode().split("\n")
    if len(lines) != 4 or not lines[0]:
        raise CheckpointInvalidError(f"a checkpoint has three lines, this one {len(lines) - 1}")
    origin, size_text, root_text, _ = lines
    if _SIZE.fullmatch(size_text) is None or int(size_text) > SIZE_MAX:
        raise CheckpointInvalidError(f"not a tree size: {size_text[:40]!r}")
    root = decode_base64(root_text)
    if len(root) != 32:
        raise CheckpointInvalidError(f"a root hash has 32 bytes, not {len(root)}")
    return UnverifiedCheckpoint(origin, int(size_text), root, text, signatures, data)


def verify_checkpoint(data: bytes, verifiers: Sequence[Verifier], origin: str) -> Checkpoint:
    """Return the checkpoint of the log `origin`, signed by one of `verifiers`; raises CheckpointInvalidError.

    (1) well-formed, (2) this log's origin, (3) no known key's signature fails, (4) at least one known key signed.
    """
    parsed = parse_checkpoint(data)  # (1)
    if parsed.origin != origin:  # (2)
        raise CheckpointInvalidError(f"the checkpoint is of log {parsed.origin[:100]!r}, not {origin!r}")
    _verify_signatures(parsed.text, parsed.signatures, verifiers)  # (3) (4)
    return Checkpoint(parsed.origin, parsed.size, parsed.root, data)


def parse_vkeys(text: str) -> tuple[Verifier, ...]:
    """Read a file of verifier keys, one per line; raises CheckpointInvalidError, also when there is none."""
    verifiers = tuple(Verifier.parse(line) for line in text.split("\n") if line)
    if not verifiers:
        raise CheckpointInvalidError("no verifier key")
    return verifiers


# --- keys and base64 -----------------------------------------------------------------------------------------------


def check_key_name(name: str) -> None:
    """Raise CheckpointInvalidError unless `name` can name a key: not empty, no space, no plus."""
    if not name or "+" in name or any(character.isspace() or character < " " for character in name):
        raise CheckpointInvalidError(f"not a key name: {name[:100]!r}")


def key_id(name: str, public_key: bytes) -> int:
    """Return the key id: the first four bytes of SHA-256(name, newline, type, public key)."""
    return int.from_bytes(hashlib.sha256(name.encode() + b"\n\x01" + public_key).digest()[:4], "big")


def encode_base64(data: bytes) -> str:
    """Encode in standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Decode standard base64; raises CheckpointInvalidError on any form but the canonical one."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        raise CheckpointInvalidError(f"not base64: {text[:100]!r}") from err
    if encode_base64(data) != text:  # other padding bits would give one checkpoint two spellings
        raise CheckpointInvalidError(f"not canonical base64: {text[:100]!r}")
    return data

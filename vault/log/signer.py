"""The log's signing key: an Ed25519 key in a file only its owner can read.

The file holds one line in the form Go's `note` package uses: `PRIVATE+KEY+<name>+<hex key id>+<base64 0x01‖seed>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault import durable
from vault.errors import CheckpointInvalidError, VaultError
from vault.log.checkpoint import (
    ED25519,
    Checkpoint,
    NoteSignature,
    Verifier,
    build_note,
    checkpoint_text,
    decode_base64,
    encode_base64,
)

if TYPE_CHECKING:
    from pathlib import Path


class SigningKeyError(VaultError):
    """The log's signing key cannot be used."""

    remedy = "Restore keys/log.key from its backup; a new key would be a new log."


class Signer:
    """Signs checkpoints. It knows no tree: that a checkpoint extends the last one is the sequencer's duty."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier.of(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def create(cls, path: Path, name: str) -> Signer:
        """Make a new key and store it at `path` (0600), durably; raises AppendOnlyViolationError if one is there."""
        seed = Ed25519PrivateKey.generate().private_bytes_raw()
        signer = cls(name, seed)
        durable.write_new(path, signer.encode(seed).encode(), mode=0o600)
        return signer

    @classmethod
    def load(cls, path: Path) -> Signer:
        """Read the key; raises SigningKeyError when it is missing or damaged."""
        try:
            return cls._parse(path.read_text())
        except (OSError, ValueError, CheckpointInvalidError) as err:
            reason = getattr(err, "strerror", None) or "not a signing key of a log"
            raise SigningKeyError(f"cannot use {path}: {reason}") from err

    @property
    def vkey(self) -> str:
        """The public half as text, for whoever wants to check this log."""
        return self.verifier.vkey

    def sign(self, origin: str, size: int, root: bytes) -> bytes:
        """Return the signed note of a checkpoint. Only for trees that extend every tree signed before (I3)."""
        text = checkpoint_text(origin, size, root)
        name, identity = self.verifier.name, self.verifier.key_id
        return build_note(text, [NoteSignature(name, identity, self._key.sign(text))])

    def checkpoint(self, origin: str, size: int, root: bytes) -> Checkpoint:
        """Sign, and return the checkpoint itself."""
        return Checkpoint(origin, size, root, self.sign(origin, size, root))

    def encode(self, seed: bytes) -> str:
        """Return the line that the key file holds."""
        key = encode_base64(bytes([ED25519]) + seed)
        return f"PRIVATE+KEY+{self.verifier.name}+{self.verifier.key_id:08x}+{key}\n"

    @classmethod
    def _parse(cls, text: str) -> Signer:
        private, key, name, identity, encoded = text.removesuffix("\n").split("+", 4)
        raw = decode_base64(encoded)
        if (private, key, len(raw), raw[0]) != ("PRIVATE", "KEY", 33, ED25519):
            raise ValueError("no Ed25519 key")
        signer = cls(name, raw[1:])
        if f"{signer.verifier.key_id:08x}" != identity:
            raise ValueError("the key id does not fit the key")
        return signer

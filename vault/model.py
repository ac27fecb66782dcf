"""The nouns of the vault: one concept, one frozen type, the standard's name. No I/O."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NewType

if TYPE_CHECKING:
    from datetime import datetime

CaseId = NewType("CaseId", str)  # UUIDv7 text
DeviceId = NewType("DeviceId", str)  # "dev-" + 32 hex, see device_id()
PersonId = NewType("PersonId", str)  # UUIDv7 text
SessionId = NewType("SessionId", str)  # UUIDv7 text; one dock session

MediaType = Literal["video", "audio", "image", "document", "other"]
Condition = Literal["whole", "damaged"]
Role = Literal["custodian", "supervisor", "auditor", "reviewer", "admin"]

CHUNK_BYTES = 1 << 20  # leaf of the chunk list; 8 of them are one S3 part (docs/adr/0003)


@dataclass(frozen=True, slots=True)
class Digest:
    """A message digest (PREMIS); prints and parses as `sha256:<hex>`."""

    algorithm: Literal["sha256", "sm3"]
    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != 32:
            raise ValueError(f"a {self.algorithm} digest has 32 bytes, not {len(self.value)}")

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value.hex()}"

    @property
    def hex(self) -> str:
        """The 64 hex characters, as `sha256sum` prints them."""
        return self.value.hex()

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Return the SHA-256 of `data`."""
        return cls("sha256", hashlib.sha256(data).digest())

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<64 hex>` or `sm3:<64 hex>`; raises ValueError."""
        match = re.fullmatch(r"(sha256|sm3):([0-9a-f]{64})", text)
        if match is None:
            raise ValueError(f"not a digest: {text[:80]!r}")
        algorithm: Literal["sha256", "sm3"] = "sha256" if match[1] == "sha256" else "sm3"
        return cls(algorithm, bytes.fromhex(match[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts. Only `id` and `role` enter a leaf; the name is a personal field."""

    id: PersonId
    role: Role
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One recording as acquired; identity is the SHA-256 of its bytes; never mutated."""

    id: Digest
    size: int  # bytes
    chunk_bytes: int
    chunk_root: bytes  # RFC 6962 tree hash over the chunks, 32 bytes
    media: MediaType
    condition: Condition
    sealed_index: int  # log index of its clip.sealed entry
    sealed_at: datetime  # UTC
    sm3: Digest | None
    name: str  # file name of the first acquisition, for people
    facts: dict[str, object]  # what is in the file: see docs/formats.md, "facts"
    started_at: datetime | None  # UTC; see facts["start"] for source and confidence
    duration_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """One copying of a clip from a device (ISO/IEC 27037)."""

    index: int  # log index of its clip.acquired entry
    clip: Digest
    device: DeviceId
    session: SessionId
    path: str  # on the device, "/"-separated
    modified_at: str  # the device's own time of the file, ISO 8601, zone as far as known
    acquired_at: datetime
    outcome: Literal["sealed", "duplicate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A recorder, card or folder that footage came from."""

    id: DeviceId
    driver: str
    label: str
    identity: dict[str, str]
    first_index: int
    last_docked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord:
    """A case of the agency; clips are tied to it by signed, logged links."""

    id: CaseId
    number: str  # 案号, unique
    title: str
    target: str  # 执法对象
    category: str  # 执法类别
    opened_index: int
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLink:
    """A standing association of a clip with a case."""

    clip: Digest
    case: CaseId
    index: int  # log index of the clip.linked entry
    linked_at: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One logged opening of a clip (I6)."""

    index: int
    view: str  # UUIDv7 of the grant
    clip: Digest
    actor: str
    purpose: str
    opened_at: datetime


def device_id(driver: str, serial: str) -> DeviceId:
    """Name a device by its driver and serial: `dev-` and the first 32 hex of SHA-256("driver NUL serial")."""
    return DeviceId("dev-" + hashlib.sha256(f"{driver}\0{serial}".encode()).hexdigest()[:32])

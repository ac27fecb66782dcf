"""Records: case documents and personal fields, kept outside the log, each opening a commitment the log holds.

A record is a JSON file named by its body commitment. Every field has its own random salt, so one field can be disclosed,
or expunged, without the others. Formats: docs/formats.md.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from vault import durable
from vault.entry import SALT_BYTES, commit_body, commit_field
from vault.errors import RecordMismatchError
from vault.model import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vault.entry import LogEntry

_HEX = re.compile("[0-9a-f]{64}")


def encode_record(private: Mapping[str, object]) -> tuple[Digest, bytes]:
    """Salt and commit to personal fields; returns the body commitment and the record's bytes."""
    salts = {name: os.urandom(SALT_BYTES) for name in private}
    commitments = {name: commit_field(name, value, salts[name]) for name, value in private.items()}
    fields = {name: {"value": value, "salt": salts[name].hex()} for name, value in private.items()}
    return commit_body(commitments), _encode({"v": 1, "fields": fields})


def open_record(body: Digest, data: bytes) -> dict[str, object]:
    """Return the disclosed fields of a record after checking that it opens `body`; expunged fields are left out.

    A record has one spelling: no byte of the file may differ from what we would write, even where it means the same.
    """
    try:
        commitments = {}
        values = {}
        for name, field in _fields(data).items():
            if set(field) == {"value", "salt"}:
                values[name] = field["value"]
                commitments[name] = commit_field(name, field["value"], _unhex(field["salt"]))
            else:
                commitments[name] = _unhex(field["commitment"])
        opened = commit_body(commitments)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise RecordMismatchError(f"record {body.hex} cannot be read: {err}") from err
    if opened != body:
        raise RecordMismatchError(f"record {body.hex} does not open its commitment: its content was changed")
    return values


def _fields(data: bytes) -> dict[str, dict[str, object]]:
    document = json.loads(data)
    if set(document) != {"v", "fields"} or repr(document["v"]) != "1" or _encode(document) != data:
        raise ValueError("not in the form in which records are written")
    fields: dict[str, dict[str, object]] = document["fields"]
    return fields


def _encode(document: Mapping[str, object]) -> bytes:
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def _unhex(text: object) -> bytes:
    if not isinstance(text, str) or _HEX.fullmatch(text) is None:
        raise ValueError(f"not 64 hex digits: {str(text)[:70]!r}")
    return bytes.fromhex(text)


class RecordStore:
    """Records on disk, `records/ab/<body commitment>`: one level, because making directories costs more than the files."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "records"

    def path(self, body: Digest) -> Path:
        """Return where the record of this commitment is, or would be."""
        return self.directory / body.hex[:2] / body.hex

    def put(self, private: Mapping[str, object], *, sync: bool) -> Digest:
        """Write a new record. With `sync` it is durable on return; without, after the caller's file-system sync."""
        body, data = encode_record(private)
        path = self.path(body)
        if sync:
            durable.write_new(path, data, mode=0o600)
        else:
            durable.create_unsynced(path, data, mode=0o600)
        return body

    def get(self, body: Digest) -> dict[str, object]:
        """Return the fields of a record, checked; raises RecordMismatchError when it is gone or changed."""
        try:
            data = self.path(body).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as err:
            raise RecordMismatchError(f"record {body.hex} is missing") from err
        except OSError as err:  # the wrong account, or a failing disk
            raise RecordMismatchError(f"record {body.hex} cannot be read: {err.strerror}") from err
        return open_record(body, data)

    def disclosed(self, entry: LogEntry) -> dict[str, object]:
        """Return what an entry's record discloses; empty without a record, or when it is gone or was changed.

        `verify` reports a missing or changed record; showing the rest must not depend on it.
        """
        body = entry.statement.fields.get("body")
        if body is None:
            return {}
        try:
            return self.get(Digest.parse(str(body)))
        except RecordMismatchError:
            return {}

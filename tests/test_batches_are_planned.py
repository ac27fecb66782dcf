"""The pure part of a batch: canonical bytes, links to earlier entries, duplicates, conflicts."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from vault.entry import ENTRY_BYTES_MAX, LogEntry, Statement, canonical, decode, format_time
from vault.errors import ConflictError, EntryInvalidError
from vault.log.batch import INTEGER_MAX, STATEMENT_BYTES_MAX, Batch, Known, envelope, prepare
from vault.testing import make_statement

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=6)
VALUES = st.one_of(st.integers(-INTEGER_MAX, INTEGER_MAX), st.text(st.characters(exclude_categories=["Cs"])))
TIME_MS = 1_790_000_000_123


def batch(*, known: dict[str, Known] | None = None, heads: dict[str, int] | None = None, size: int = 10) -> Batch:
    return Batch(size=size, time_ms=TIME_MS, known=known or {}, heads=heads or {})


@given(st.dictionaries(NAMES, st.one_of(VALUES, st.dictionaries(NAMES, VALUES, max_size=3)), max_size=6))
def test_the_fast_encoder_writes_rfc_8785(document: dict[str, object]) -> None:
    assert canonical(document) == rfc8785.dumps(document)


@given(st.dictionaries(st.sampled_from(["clip", "case", "device"]), st.integers(-1, 1 << 40)), st.integers(0, 1 << 42))
def test_the_envelope_equals_the_entry_encoded_whole(prev: dict[str, int], time_ms: int) -> None:
    statement = make_statement(7)
    data = envelope(prepare(statement).data, prev, format_time(time_ms))
    assert data == LogEntry(time_ms=time_ms, prev=prev, statement=statement).encode()
    assert decode(data).prev == prev


def test_the_largest_statement_still_fits_into_an_entry() -> None:
    prev = dict.fromkeys(("case", "clip", "device"), (1 << 63) - 1)
    assert len(envelope(b"x" * STATEMENT_BYTES_MAX, prev, format_time(TIME_MS))) <= ENTRY_BYTES_MAX


@pytest.mark.parametrize(
    "statement",
    [
        replace(make_statement(1), id=""),
        replace(make_statement(1), id="a\0b"),
        replace(make_statement(1), id="编号"),
        replace(make_statement(1), fields={**make_statement(1).fields, "clip": "sha256:\n"}),
        replace(make_statement(1), actor_id="\udc80"),
        replace(make_statement(1), actor_id="x" * STATEMENT_BYTES_MAX),
        replace(make_statement(1), type="clip.teleported"),
        make_statement(1, size=INTEGER_MAX + 1),
        make_statement(1, size=-INTEGER_MAX - 1),
    ],
)
def test_a_statement_that_cannot_be_an_entry_is_refused(statement: Statement) -> None:
    with pytest.raises(EntryInvalidError):
        prepare(statement)


def test_entries_of_one_clip_are_chained_within_a_batch_and_to_the_past() -> None:
    subject = make_statement(0, clip=5).subjects()["clip"]
    planned = batch(heads={subject: 3}).add([prepare(make_statement(n, clip=c)) for n, c in ((1, 5), (2, 6), (3, 5))])
    assert [each.position for each in planned] == [10, 11, 12]
    assert [each.entry.prev for each in planned if each.entry] == [{"clip": 3}, {"clip": -1}, {"clip": 10}]
    assert [decode(each.data) for each in planned] == [each.entry for each in planned]


def test_the_same_statement_again_gets_its_old_place() -> None:
    prepared = [prepare(make_statement(n)) for n in (1, 2, 1)]
    old = Known(4, prepared[1].digest)
    made = batch(known={prepared[1].statement.id: old})
    planned = made.add(prepared)
    assert [(each.position, each.repeated) for each in planned] == [(10, False), (4, True), (10, True)]
    assert planned[0].data == planned[2].data
    assert planned[0].entry == planned[2].entry
    assert len(made.entries) == len(made.rows) == len(made.heads) == 1
    assert [(each.position, each.repeated) for each in made.add(prepared)] == [(10, True), (4, True), (10, True)]


def test_the_whole_digest_decides_what_is_the_same() -> None:
    assert prepare(make_statement(1)).digest == hashlib.sha256(rfc8785.dumps(make_statement(1).to_json())).digest()


@pytest.mark.parametrize("where", ["log", "batch", "call"])
def test_an_id_that_says_something_else_is_refused_without_a_trace(where: str) -> None:
    first, other = prepare(make_statement(1)), prepare(make_statement(1, size=2))
    made = batch(known={first.statement.id: Known(4, first.digest)} if where == "log" else {})
    if where == "batch":
        made.add([first])
    before = (list(made.entries), list(made.rows), dict(made.heads))
    with pytest.raises(ConflictError, match="already says something else"):
        made.add([prepare(make_statement(2)), *([first] if where == "call" else []), other])
    assert (made.entries, made.rows, made.heads) == before

"""Signed notes and checkpoints: the specification's own vector, round trips, and notes nobody may believe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vault.errors import AppendOnlyViolationError, CheckpointInvalidError
from vault.log.checkpoint import (
    NOTE_BYTES_MAX,
    NoteSignature,
    Verifier,
    build_note,
    checkpoint_text,
    decode_base64,
    encode_base64,
    parse_checkpoint,
    parse_note,
    parse_vkeys,
    verify_checkpoint,
    verify_note,
)
from vault.log.signer import Signer, SigningKeyError

if TYPE_CHECKING:
    from pathlib import Path

# From the signed-note specification.
SPEC_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SPEC_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

ORIGIN = "example.com/log"
SIGNER = Signer(ORIGIN, bytes(range(32)))
OTHER = Signer(ORIGIN, bytes(range(1, 33)))  # same name, another key
WITNESS = Signer("witness.example", bytes(range(2, 34)))
ROOT = bytes(range(100, 132))
NOTE = SIGNER.sign(ORIGIN, 42, ROOT)
TEXT = checkpoint_text(ORIGIN, 42, ROOT)


def line(signer: Signer, text: bytes = TEXT) -> NoteSignature:
    """One signature over a text of our choice."""
    _, (signature,) = parse_note(signer.sign(ORIGIN, 42, ROOT))
    return replace(signature, signature=signer._key.sign(text))


def refuse(data: bytes, match: str | None = None, *, origin: str = ORIGIN) -> None:
    with pytest.raises(CheckpointInvalidError, match=match):
        verify_checkpoint(data, [SIGNER.verifier], origin)


def test_the_vector_of_the_signed_note_specification() -> None:
    verifier = Verifier.parse(SPEC_VKEY)
    assert verifier.vkey == SPEC_VKEY
    assert verify_note(SPEC_NOTE, [verifier]) == SPEC_NOTE.partition(b"\n\n")[0] + b"\n"
    for position in range(len(SPEC_NOTE)):
        changed = bytearray(SPEC_NOTE)
        changed[position] ^= 1
        with pytest.raises(CheckpointInvalidError):
            verify_note(bytes(changed), [verifier])


def test_a_checkpoint_has_three_lines_and_comes_back() -> None:
    assert NOTE.decode().split("\n\n")[0] == f"{ORIGIN}\n42\n{encode_base64(ROOT)}"
    checkpoint = verify_checkpoint(NOTE, parse_vkeys(f"{SIGNER.vkey}\n"), ORIGIN)
    assert (checkpoint.origin, checkpoint.size, checkpoint.root, checkpoint.note) == (ORIGIN, 42, ROOT, NOTE)


def test_every_flipped_bit_of_a_checkpoint_is_refused() -> None:
    for position in range(len(NOTE)):
        for bit in range(8):
            changed = bytearray(NOTE)
            changed[position] ^= 1 << bit
            with pytest.raises(CheckpointInvalidError):
                verify_checkpoint(bytes(changed), [SIGNER.verifier], ORIGIN)


def test_a_checkpoint_cut_anywhere_is_refused() -> None:
    for end in range(len(NOTE)):
        with pytest.raises(CheckpointInvalidError):
            verify_checkpoint(NOTE[:end], [SIGNER.verifier], ORIGIN)


@given(st.binary(max_size=400))
@example(b"")
@example(b"\n\n\n")
@example("— a\n\n— a\n".encode())
def test_any_bytes_are_refused_without_a_crash(data: bytes) -> None:
    with pytest.raises(CheckpointInvalidError):
        verify_checkpoint(data, [SIGNER.verifier], ORIGIN)


def test_another_log_is_refused() -> None:
    refuse(SIGNER.sign("example.com/other", 42, ROOT), "is of log")
    refuse(NOTE, "is of log", origin="example.com/other")


def test_another_key_of_the_same_name_is_refused() -> None:
    refuse(OTHER.sign(ORIGIN, 42, ROOT), "no signature by example.com/log")


def test_unknown_signatures_are_ignored_beside_a_good_one() -> None:
    lines = [line(WITNESS), line(SIGNER), NoteSignature("post-quantum", 7, bytes(2420))]
    assert verify_checkpoint(build_note(TEXT, lines), [SIGNER.verifier], ORIGIN).size == 42


def test_unknown_signatures_alone_are_refused() -> None:
    refuse(build_note(TEXT, [line(WITNESS)]), "no signature by")


def test_a_known_key_that_fails_rejects_the_whole_note() -> None:
    forged = replace(line(WITNESS), signature=bytes(64))
    note = build_note(TEXT, [line(SIGNER), forged])
    verify_checkpoint(note, [SIGNER.verifier], ORIGIN)
    with pytest.raises(CheckpointInvalidError, match=r"witness\.example does not fit"):
        verify_checkpoint(note, [SIGNER.verifier, WITNESS.verifier], ORIGIN)


def test_a_second_signature_line_of_the_same_key_is_not_waved_through() -> None:
    refuse(build_note(TEXT, [line(SIGNER), replace(line(SIGNER), signature=bytes(64))]), "does not fit")


@pytest.mark.parametrize("ending", ["=", "==", "A", " ", "\t", "\n"])
def test_non_canonical_base64_is_refused(ending: str) -> None:
    refuse(NOTE[:-1] + ending.encode() + b"\n", "base64|signature|control")


def test_base64_with_stray_padding_bits_is_refused() -> None:
    assert decode_base64("AA==") == b"\0"
    with pytest.raises(CheckpointInvalidError, match="canonical"):
        decode_base64("AB==")


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n042\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n+42\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n-1\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n４２\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n9999999999999999999\n{encode_base64(ROOT)}\n",
        f"{ORIGIN}\n42\n{encode_base64(ROOT[:31])}\n",
        f"{ORIGIN}\n42\n{encode_base64(ROOT + b'x')}\n",
        f"{ORIGIN}\n42\n{encode_base64(ROOT)}\nextension line\n",
        f"{ORIGIN}\n42\n{encode_base64(ROOT)}\n\nextension line\n",
        f"{ORIGIN}\n42\n",
        f"\n42\n{encode_base64(ROOT)}\n",
        "\n",
    ],
)
def test_a_malformed_text_is_refused_though_the_key_signed_it(text: str) -> None:
    refuse(build_note(text.encode(), [line(SIGNER, text.encode())]))


@pytest.mark.parametrize("data", [b"\r" + NOTE, NOTE.replace(b"42\n", b"42\0\n"), b"\xff" + NOTE])
def test_control_characters_and_broken_utf8_are_refused(data: bytes) -> None:
    refuse(data, "control|UTF-8")


def test_size_limits() -> None:
    refuse(b"x" * (NOTE_BYTES_MAX + 1), "longer than")
    refuse(build_note(TEXT, [line(WITNESS)] * 65), "65 signatures")
    many = [NoteSignature(f"w{number}", number, bytes(2428)) for number in range(16)]
    assert verify_checkpoint(build_note(TEXT, [*many, line(SIGNER)]), [SIGNER.verifier], ORIGIN).size == 42


@pytest.mark.parametrize(
    "line_text",
    [
        "—  example.com/log AAAA",
        "- example.com/log AAAAAAAA",
        "— example.com/log",
        "— a+b AAAAAAAA",
        "— \u2003 AAAAAAAA",
        "— a AAAA",
        "",
    ],
)
def test_malformed_signature_lines_are_refused(line_text: str) -> None:
    refuse(TEXT + b"\n" + line_text.encode() + b"\n")


@pytest.mark.parametrize(
    "vkey",
    [
        SPEC_VKEY.replace("c74f20a3", "c74f20a4"),
        SPEC_VKEY.replace("PeterNeumann", "PeterNeuman"),
        SPEC_VKEY.replace("ARpc", "Ahpc"),
        SPEC_VKEY[:-4],
        "PeterNeumann+c74f20a3+" + encode_base64(b"\x01" * 32),
        "PeterNeumann+c74f20a3+" + encode_base64(b"\x06" * 33),
        "",
        "a b+00000000+AAAA",
    ],
)
def test_a_damaged_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(CheckpointInvalidError):
        Verifier.parse(vkey)


def test_a_file_without_keys_is_refused() -> None:
    with pytest.raises(CheckpointInvalidError, match="no verifier key"):
        parse_vkeys("\n")


def test_a_key_that_is_no_point_of_the_curve_accepts_nothing() -> None:
    assert not Verifier(ORIGIN, 1, b"\xff" * 32).accepts(TEXT, bytes(64))


@pytest.mark.parametrize("origin", ["", "two\nlines", "tab\there"])
def test_an_origin_that_could_forge_a_line_is_never_signed(origin: str) -> None:
    with pytest.raises(CheckpointInvalidError, match="origin"):
        SIGNER.sign(origin, 1, ROOT)


def test_parsing_alone_promises_nothing() -> None:
    parsed = parse_checkpoint(OTHER.sign(ORIGIN, 7, ROOT))
    assert (parsed.size, parsed.root, len(parsed.signatures)) == (7, ROOT, 1)


def test_a_signing_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "log.key"
    signer = Signer.create(path, ORIGIN)
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = Signer.load(path)
    assert loaded.vkey == signer.vkey
    assert loaded.sign(ORIGIN, 1, ROOT) == signer.sign(ORIGIN, 1, ROOT)
    with pytest.raises(AppendOnlyViolationError):
        Signer.create(path, ORIGIN)


def test_a_missing_or_damaged_signing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    with pytest.raises(SigningKeyError, match=r"log\.key: No such file"):
        Signer.load(path)
    good = Signer(ORIGIN, bytes(32)).encode(bytes(32))
    for text in ("", "PRIVATE+KEY+a+b", good.replace("KEY", "KEX"), good.replace("+A", "+B"), good[:-9], "\udcff"):
        path.write_text(text, errors="surrogateescape")
        with pytest.raises(SigningKeyError, match="not a signing key"):
            Signer.load(path)

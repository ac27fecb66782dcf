"""docs/formats.md against the code: its examples come out, its program accepts our log and refuses a changed one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from vault.entry import commit_body, commit_field
from vault.log.checkpoint import Verifier, verify_checkpoint
from vault.log.proof import TlogProof
from vault.log.sequencer import Log
from vault.testing import ORIGIN, FrozenClock, create_log, make_statement

PAGE = (Path(__file__).parent.parent / "docs" / "formats.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
EXAMPLES = [text for kind, text in BLOCKS if not kind]
(PROGRAM,) = [text for kind, text in BLOCKS if kind == "python"]


def example(start: str) -> str:
    (found,) = [text for text in EXAMPLES if text.startswith(start)]
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with Log.open(tmp_path, create_log(tmp_path), now_ms=FrozenClock()) as log:
        log.append([make_statement(1), make_statement(2, clip=1)])
    return tmp_path


def test_the_examples_of_the_log_come_out_of_the_code(root: Path) -> None:
    note, vkey, proof = example(f"{ORIGIN}\n2\n"), example(f"{ORIGIN}+"), example("c2sp.org/tlog-proof")
    assert (root / "log/checkpoint").read_text() == note
    assert (root / "log/vkey").read_text() == vkey
    verifier = Verifier.parse(vkey.strip())
    checkpoint = verify_checkpoint(note.encode(), [verifier], ORIGIN)
    bundle = (root / "log/tile/entries/000.p/2").read_bytes()
    assert bundle.startswith(b'\x02\x07{"prev":{"clip":-1},')
    second = bundle[2 + 0x207 + 2 :]
    assert TlogProof.parse(proof.encode()).verify(second, [verifier], ORIGIN) == checkpoint


def test_the_example_of_a_record_comes_out_of_the_code() -> None:
    name = commit_field("name", "张三", bytes(32))
    plate = commit_field("plate", "京A12345", bytes(range(32)))
    assert f"`{name.hex()}`" in PAGE
    assert f"`{plate.hex()}`" in PAGE
    assert f"`{commit_body({'plate': plate, 'name': name})}`" in PAGE


def run_program(root: Path) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, str(root)], capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_fifty_lines_of_anyones_code_check_the_log(root: Path) -> None:
    """I7: the files alone, read as the page says, lead to the signed root."""
    assert len([line for line in PROGRAM.splitlines() if line.strip()]) <= 60
    status, said = run_program(root)
    assert (status, said) == (0, f"{ORIGIN}: 2 entries and every sealed original agree with the signed root\n")
    for name in ("log/tile/entries/000.p/2", "log/tile/0/000.p/2"):
        path = root / name
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
        assert run_program(root)[0] == 1
        data[-3] ^= 1
        path.write_bytes(data)

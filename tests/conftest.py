"""Fixtures that many tests share. Keep it small: what one file needs belongs into that file."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vault.vault import Vault

sys.path.insert(0, str(Path(__file__).parent))  # test files import `footage`; nothing in tests/ shadows a package

from tiers import judge_examples_by_their_outcome

judge_examples_by_their_outcome()


@dataclass(frozen=True)
class Ended:
    """How one command ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        (only,) = self.lines
        return only

    @property
    def error(self) -> dict[str, Any]:
        """The JSON error on stderr."""
        error: dict[str, Any] = json.loads(self.err)["error"]
        return error


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own settings reaches a test."""
    for name in list(os.environ):
        if name.startswith("LIUHEN_") or name in {"LC_ALL", "LC_MESSAGES", "LANGUAGE", "FORCE_COLOR", "NO_COLOR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("LANG", "C.UTF-8")


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """An empty vault in `tmp_path / "vault"`."""
    from vault.vault import Vault

    with Vault.init(tmp_path / "vault") as opened:
        yield opened


@pytest.fixture
def liuhen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run `liuhen` in this process on the vault in `tmp_path / "vault"`."""
    from api.cli.app import run

    def call(*arguments: str | Path) -> Ended:
        capfd.readouterr()
        status = run(["--data", str(tmp_path / "vault"), *map(str, arguments)])
        captured = capfd.readouterr()
        return Ended(status, captured.out, captured.err)

    return call

"""What the documents claim and what the tests and the code say are the same lists."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING

import api
import hardware
import ingest
import transcode
import vault
from api.cli import words
from api.cli.app import build
from api.config import KEYS
from api.origin import PACKAGES
from hardware.errors import HardwareError
from vault.errors import LiuhenError

if TYPE_CHECKING:
    import typer

ROOT = Path(__file__).parent.parent
IDS = re.compile(r"^((?:[A-Z]+-?\d+(?:,\s*|\s+and\s+)?)+):")
MANUAL = ROOT / "docs" / "manual.md"


def ids_of_docstrings(path: Path) -> set[str]:
    """Return the requirement and invariant ids that the docstrings of one test file begin with."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            match = IDS.match(ast.get_docstring(node) or "")
            found |= set(re.findall(r"[A-Z]+-?\d+", match[1])) if match else set()
    return found


def invariants_of_design() -> tuple[set[str], dict[str, set[str]]]:
    """Return the invariants DESIGN.md states (`- **I1** …`), and the test files each line about one of them names."""
    text = (ROOT / "DESIGN.md").read_text()
    named: dict[str, set[str]] = {}
    for name, rest in re.findall(r"^(?:- |\| )\**(I\d+)\b(.*)$", text, re.MULTILINE):
        named.setdefault(name, set()).update(re.findall(r"(test_\w+)", rest))
    return set(re.findall(r"^- \*\*(I\d+)\*\*", text, re.MULTILINE)), named


def test_every_invariant_names_its_tests_and_they_name_it():
    stated, claimed = invariants_of_design()
    assert stated == {f"I{number}" for number in range(1, 10)}
    saying: dict[str, set[str]] = {name: set() for name in stated}
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for name in ids_of_docstrings(path) & stated:
            saying[name].add(path.stem)
    assert claimed == saying, "\n".join(
        f"| {name} | {', '.join(sorted(files))} |" for name, files in sorted(saying.items())
    )


def command_names(group: typer.Typer, prefix: str = "") -> set[str]:
    """Return every command as people type it."""
    names = {prefix + str(item.name) for item in group.registered_commands}
    for item in group.registered_groups:
        assert item.typer_instance is not None
        names |= command_names(item.typer_instance, f"{prefix}{item.name} ")
    return names


def test_every_command_is_in_the_manual():
    text = MANUAL.read_text()
    missing = {name for name in command_names(build()) if not re.search(rf"`liuhen {name}[ `]", text)}
    assert not missing


def test_the_manual_invents_no_command():
    known = command_names(build())
    for written in re.findall(r"`liuhen ([a-z][a-z -]*[a-z])", MANUAL.read_text() + (ROOT / "README.md").read_text()):
        assert any(written == name or written.startswith(f"{name} ") for name in known), written


def test_every_setting_is_in_the_manual_and_in_use():
    text = MANUAL.read_text()
    code = "\n".join(path.read_text() for path in (ROOT / "api").rglob("*.py"))
    for key in KEYS:
        assert f"`{key}`" in text, key
        assert re.search(rf"settings\.{key}\b", code), f"nothing uses {key}"


def error_classes() -> list[type[LiuhenError | HardwareError]]:
    """Return every error class of the five packages."""
    for package in (vault, hardware, ingest, transcode, api):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "migrations" not in module.name and "offline" not in module.name:
                importlib.import_module(module.name)

    def below(root):
        return [root, *(found for child in root.__subclasses__() for found in below(child))]

    return [e for e in (*below(LiuhenError)[1:], *below(HardwareError)) if e.__module__.split(".")[0] in PACKAGES]


def test_every_exit_status_of_an_error_is_in_the_manual():
    text = MANUAL.read_text()
    documented = {int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    used = {getattr(error, "exit_code", 1) for error in error_classes()}
    assert used | {0, 130, 141} == documented
    assert used <= {1, 2, *range(20, 30)}


def test_every_error_says_what_to_do_and_ends_in_error():
    for error in error_classes():
        assert error.__name__.endswith("Error")
        if error is not HardwareError:
            assert error.remedy.strip()
            assert "\n" not in error.remedy


def test_integrity_faults_have_chinese_words():
    for error in error_classes():
        if error.exit_code >= 20:
            assert error.__name__ in words.ERRORS_ZH, error.__name__


def test_both_languages_have_the_same_placeholders():
    for key, (english, chinese) in words.WORDS.items():
        fields = set(re.findall(r"{(\w+)}", english))
        assert fields | {"title"} == set(re.findall(r"{(\w+)}", chinese)) | {"title"}, key


def test_the_glossary_has_english_chinese_and_standard():
    rows = [line for line in (ROOT / "GLOSSARY.md").read_text().splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 30
    terms = []
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4, row
        assert all(cells), row
        terms.append(cells[0].lower())
    assert terms == sorted(terms)

"""The shape of the code: layers, pure cores, where packages come from, where `except Exception` may stand."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from api import origin

ROOT = Path(__file__).parent.parent
PACKAGES = origin.PACKAGES


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_import_contracts_hold():
    script = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    command = [sys.executable, "-P", "-c", script, "--no-cache"]  # the checkout may be another user's
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_nothing_imports_the_command_line_or_the_tests():
    for path in sources():
        if path.is_relative_to(ROOT / "api" / "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [module or ""]
            assert not [
                n for n in names if n.split(".")[:2] == ["api", "cli"] or n.split(".")[0] in {"tests", "benchmarks"}
            ], path


def test_broad_excepts_stand_only_at_outermost_loops():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        if "offline" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    ]
    assert len(found) <= 3, found


def test_every_module_says_what_it_knows():
    assert not [path for path in sources() if not ast.get_docstring(ast.parse(path.read_text()))]


def test_the_packages_that_run_are_the_ones_beside_this_test():
    assert origin.foreign_package() is None


def test_a_stray_vault_in_the_working_directory_is_not_ours(tmp_path):
    (tmp_path / "vault.py").write_text("raise SystemExit('the stray module ran')\n")
    for arguments in (["-P", "-m", "api.cli.main"], ["-m", "api.cli.main"]):
        ended = subprocess.run(
            [sys.executable, *arguments, "config"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "the stray module ran" not in ended.stderr
        if arguments[0] == "-P":
            assert ended.returncode == 0, ended.stderr
        else:
            assert ended.returncode == 1
            assert "package vault: comes from" in ended.stderr
            assert "Traceback" not in ended.stderr


def test_a_foreign_package_in_front_of_ours_is_refused(tmp_path):
    (tmp_path / "transcode").mkdir()
    (tmp_path / "transcode" / "__init__.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "api.cli.main", "config"], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "package transcode: comes from" in ended.stderr

"""One distribution, five flat packages: nobody else owns our folders, and what we ship is what we mean."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from api.origin import PACKAGES

ROOT = Path(__file__).parent.parent
URL = re.compile(r"https?://", re.IGNORECASE)


def tracked() -> list[Path]:
    ended = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in ended.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in the wheel that `pip install .` would make."""
    target = tmp_path_factory.mktemp("wheel")
    script = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    ended = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", script, str(target)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (path,) = target.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_no_other_distribution_owns_files_in_our_folders():
    for distribution in distributions():
        if distribution.metadata["Name"] == "liuhen":
            continue
        owned = {file.parts[0].removesuffix(".py") for file in distribution.files or () if file.parts}
        assert not owned & set(PACKAGES), distribution.metadata["Name"]


def test_our_packages_share_one_parent():
    parents = set()
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        parents.add(Path(spec.origin).resolve().parent.parent)
    assert len(parents) == 1


def test_the_wheel_holds_exactly_the_five_packages(wheel):
    top = {name.split("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_carries_the_files_that_are_not_python(wheel):
    ours = {str(path.relative_to(ROOT)) for path in tracked() if path.relative_to(ROOT).parts[0] in PACKAGES}
    assert ours <= set(wheel), ours - set(wheel)
    for needed in (*(f"{package}/py.typed" for package in PACKAGES), "vault/export/offline/verify.py"):
        assert needed in wheel


def test_requirement_files_hold_hashes_and_no_address():
    files = sorted((ROOT / "requirements").glob("*.txt"))
    assert files
    for path in files:
        text = path.read_text()
        assert not URL.search(text), path
        assert "--index-url" not in text
        pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert all("==" in line for line in pins), path
        assert text.count("--hash=sha256:") >= len(pins), path


def test_requirement_files_cover_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {re.split(r"[\[><=~ ]", line)[0].lower() for line in project["project"]["dependencies"]}
    pinned = {line.split("==")[0].lower() for line in (ROOT / "requirements/run.txt").read_text().splitlines()}
    assert wanted <= pinned


def test_no_lock_file_that_records_registries():
    names = {path.name for path in tracked()}
    assert not names & {"uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "package-lock.json", "yarn.lock"}


def test_no_tracked_file_names_a_place_on_some_machine():
    home = re.compile(rb"(?<![\w.<])/(?:home|Users|root|work|mnt|srv/src)/[\w.-]+")
    for path in tracked():
        data = path.read_bytes()
        if b"\0" in data or path == Path(__file__):
            continue
        found = home.search(data)
        assert found is None, f"{path.relative_to(ROOT)}: {found[0]!r}"


def test_no_tracked_file_is_large_or_a_leftover():
    for path in tracked():
        assert path.stat().st_size <= 5_000_000, path
        assert path.suffix not in {".pyc", ".orig", ".rej", ".db", ".key"}, path


def test_no_init_file_makes_the_tests_a_package():
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_every_runtime_dependency_is_used():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    modules = {"python-multipart": None, "pydantic-settings": "pydantic_settings"}  # FastAPI imports multipart itself
    text = "\n".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    for line in project["project"]["dependencies"]:
        name = re.split(r"[\[><=~ ]", line)[0]
        module = modules.get(name, name)
        assert module is None or re.search(rf"^\s*(?:import|from) {module}\b", text, re.MULTILINE), name


def test_the_version_is_said_once():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert json.dumps(version) not in "\n".join(
        path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    )

"""verify.py as a stranger runs it: on any Python, on any copy of the bag, against any attack on it."""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from evidence import SIZES, VERIFY_PY, Scene, build, check_bag, content, flip, make_bag, overwrite, rebag, unzip
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import sampled

from vault.errors import EntryInvalidError
from vault.export.bag import fingerprint, manifest
from vault.log.merkle import root_of, verify_inclusion

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return build(tmp_path_factory.mktemp("scene") / "vault")


@pytest.fixture(scope="module")
def packed(original: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip of one case with three clips: entries 1-3, 5-14 but the unviewed, 15 and the exports 16-18."""
    folder = tmp_path_factory.mktemp("bag")
    return make_bag(original.copy(folder / "vault"), folder / "bag.zip")


@pytest.fixture(scope="module")
def unpacked(packed: Path) -> Path:
    return unzip(packed, packed.parent / "unzipped")


@pytest.fixture
def top(unpacked: Path, tmp_path: Path) -> Path:
    return shutil.copytree(unpacked, tmp_path / "bag")


@pytest.fixture(scope="module")
def verifier() -> ModuleType:
    """verify.py as a module, to test its arithmetic."""
    spec = spec_from_file_location("offline_verify", VERIFY_PY)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def index_of(top: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((top / "data" / "clips.json").read_text("utf-8"))
    return document


def entry(top: Path, number: int) -> Path:
    return top / "data" / "entries" / f"{number}.json"


def proof(top: Path, number: int) -> Path:
    return top / "data" / "proofs" / f"{number}.tlog-proof"


def record(top: Path, number: int) -> Path:
    body = json.loads(entry(top, number).read_bytes())["statement"]["body"]
    return top / "data" / "records" / f"{body.removeprefix('sha256:')}.json"


def media(top: Path, number: int) -> Path:
    path: Path = top / index_of(top)["clips"][number]["file"]
    return path


def blamed(report: dict[str, Any]) -> str:
    return "\n".join(f"{fault['code']} {fault['object']}: {fault['message']}" for fault in report["faults"])


# --- a good bag ------------------------------------------------------------------------------------------------------------


def pythons() -> list[str]:
    """This Python, the system's, and whatever others are installed."""
    found = [sys.executable, "/usr/bin/python3", *(shutil.which(f"python3.{minor}") or "" for minor in range(6, 16))]
    roots = Path.home() / ".pyenv" / "versions"
    found += [str(path) for path in sorted(roots.glob("3.*/bin/python3"))] if roots.is_dir() else []
    return list(dict.fromkeys(path for path in found if path and Path(path).exists() and "shims" not in path))


@pytest.mark.parametrize("python", pythons())
def test_a_good_bag_holds_on_every_python_there_is(packed: Path, unpacked: Path, python: str) -> None:
    """EXT-11: nothing but the standard library, from 3.6 on; folder and zip alike."""
    for bag in (packed, unpacked):
        status, report = check_bag(bag, python=python)
        assert (status, report["faults"]) == (0, [])
        assert [step["outcome"] for step in report["steps"]] == ["ok"] * 8


def test_the_bag_checks_itself_in_an_empty_directory(unpacked: Path, tmp_path: Path) -> None:
    """EXT-10: the copy inside the bag, started from inside, prints the steps, the four lines and the fingerprint."""
    top = shutil.copytree(unpacked, tmp_path / "证据")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "verify.py"], cwd=top, capture_output=True, check=False, env={"LANG": "C.UTF-8"}
    )
    text = done.stdout.decode()
    assert done.returncode == 0
    vkey = (top / "data" / "vkey").read_text().strip()
    assert fingerprint(vkey) in text
    assert text.count("yes 是") == 4
    assert "This key came with the bag" in text
    assert "RESULT: all 8 steps hold / 结论: 8 步全部通过" in text
    assert [line[:3] for line in text.splitlines() if line.startswith("[")] == [f"[{n}]" for n in range(1, 9)]
    assert {path.name for path in top.iterdir()} == {path.name for path in unpacked.iterdir()}
    for claim in ("tamper-proof", "不可篡改", "admissible"):
        assert claim not in text


def test_a_terminal_without_chinese_still_gets_a_verdict(unpacked: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8=0", str(VERIFY_PY), str(unpacked)],
        capture_output=True, check=False, env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"RESULT: all 8 steps hold" in done.stdout


def test_the_source_stays_within_python_36_and_the_standard_library() -> None:
    source = VERIFY_PY.read_text("utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = ast.parse(source, feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= set(sys.stdlib_module_names)
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
    assert not {"subprocess", "socket", "urllib", "tempfile"} & imported
    for name in ("removeprefix", "removesuffix", ":=", "fromisoformat", "missing_ok", "is_relative_to"):
        assert name not in source
    assert source.count("\n") < 700


def test_the_commands_of_verify_md_check_the_bag_without_us(unpacked: Path, tmp_path: Path) -> None:
    """EXT-11: sha256sum and OpenSSL come to the same result."""
    text = (unpacked / "VERIFY.md").read_text("utf-8")
    script = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert script is not None
    if (
        not shutil.which("openssl")
        or b"OpenSSL 3" not in subprocess.run(["openssl", "version"], capture_output=True, check=True).stdout
    ):
        pytest.skip("needs OpenSSL 3")
    done = subprocess.run(["sh", "-ec", script[1]], cwd=unpacked, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"Signature Verified Successfully" in done.stdout
    vkey = (unpacked / "data" / "vkey").read_text().strip()
    assert f"{fingerprint(vkey)}  data/vkey" in done.stdout.decode()


def test_what_a_desktop_drops_into_a_folder_is_ignored_and_said(top: Path) -> None:
    (top / ".DS_Store").write_bytes(b"x")
    (top / "data" / "media" / "._001").write_bytes(b"x")
    (top / "data" / "records" / "Thumbs.db").write_bytes(b"x")
    status, report = check_bag(top)
    assert (status, blamed(report)) == (0, "")
    assert ".DS_Store" in report["steps"][0]["detail"]


# --- the key ---------------------------------------------------------------------------------------------------------------


def test_the_key_can_be_given_in_full_as_a_file_or_as_a_fingerprint(unpacked: Path, tmp_path: Path) -> None:
    vkey = (unpacked / "data" / "vkey").read_text().strip()
    (tmp_path / "key").write_text(vkey + "\n")
    spaced = " ".join(re.findall("....", fingerprint(vkey).upper()))
    for options in (["--vkey", vkey], ["--vkey", str(tmp_path / "key")], ["--fingerprint", spaced]):
        status, report = check_bag(unpacked, *options)
        assert (status, blamed(report)) == (0, "")
        assert report["key"]["source"] != "bag"


def test_a_perfect_bag_of_another_log_fails_against_the_key_from_paper(unpacked: Path, tmp_path: Path) -> None:
    """Whoever makes up a whole log with a key of his own is found out by the fingerprint, and only by it."""
    forged = make_bag(build(tmp_path / "forger"), tmp_path / "forged.zip")
    assert check_bag(forged)[0] == 0
    vkey = (unpacked / "data" / "vkey").read_text().strip()
    for options in (["--fingerprint", fingerprint(vkey)], ["--vkey", vkey]):
        status, report = check_bag(forged, *options)
        assert status == 20
        assert "not the" in blamed(report)


@pytest.mark.parametrize("options", [["--fingerprint", "abc"], ["--fingerprint", "z" * 64], ["--unknown"]])
def test_wrong_usage_is_status_2(unpacked: Path, options: list[str]) -> None:
    done = subprocess.run([sys.executable, "-I", "-S", str(VERIFY_PY), *options, str(unpacked)], capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 2


# --- attacks: (what is done, exit status, what must be named) -----------------------------------------------------------------

Attack = "Callable[[Path], None]"


def edit_index(top: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = index_of(top)
    change(document)
    (top / "data" / "clips.json").write_text(json.dumps(document, ensure_ascii=False), "utf-8")


def remove_entry(top: Path, number: int) -> None:
    """Take an entry out with everything that speaks of it."""
    if b'"body"' in entry(top, number).read_bytes():
        record(top, number).unlink()
    entry(top, number).unlink()
    proof(top, number).unlink()

    def forget(document: dict[str, Any]) -> None:
        for item in [*document["clips"], document["case"], {"entries": document["context"]}]:
            if number in item["entries"]:
                item["entries"].remove(number)

    edit_index(top, forget)


def remove_clip(top: Path, number: int) -> None:
    """Take a clip out with its footage and its whole chain, as far as the case's chain does not need it."""
    item = index_of(top)["clips"][number]
    for index in item["entries"]:
        if index not in index_of(top)["case"]["entries"]:
            remove_entry(top, index)
    (top / item["file"]).unlink()
    edit_index(top, lambda document: document["clips"].pop(number))


def remove_case(top: Path) -> None:
    for index in (11,):
        remove_entry(top, index)
    edit_index(top, lambda document: document.update(case=None))


def swap(one: Path, two: Path) -> None:
    first, second = one.read_bytes(), two.read_bytes()
    overwrite(one, second)
    overwrite(two, first)


def edit(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    overwrite(path, data.replace(old, new, 1))


def move_entry(top: Path, old: int, new: int) -> None:
    """Put a genuine entry, with its genuine proof, under another index."""
    shutil.copy(entry(top, old), entry(top, new))
    shutil.copy(proof(top, old), proof(top, new))
    edit(proof(top, new), b"index %d\n" % old, b"index %d\n" % new)


def orphan_entry(top: Path) -> None:
    """Leave the docking's entry in the bag but take it out of the index: an entry that belongs to nothing."""
    edit_index(top, lambda document: document["context"].remove(2))


ATTACKS: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "footage: first bit": (lambda t: flip(media(t, 1), 0), 21, "CLIP1"),
    "footage: last bit": (lambda t: flip(media(t, 2), SIZES[2] - 1), 21, "CLIP2"),
    "footage: a byte appended": (lambda t: overwrite(media(t, 1), content(1) + b"x"), 21, "CLIP1"),
    "footage: something in the empty clip": (lambda t: overwrite(media(t, 0), b"x"), 21, "CLIP0"),
    "footage: missing": (lambda t: media(t, 1).unlink(), 24, "CLIP1"),
    "footage: two swapped": (lambda t: swap(media(t, 1), media(t, 2)), 21, "CLIP2"),
    "footage: added": (lambda t: overwrite_new(t / "data" / "media" / "009-x.mp4"), 21, "009-x.mp4"),
    "entry: one bit": (lambda t: flip(entry(t, 8)), 22, "entry 8"),
    "entry: another actor": (lambda t: edit(entry(t, 8), b"custodian", b"admin"), 22, "entry 8"),
    "entry: another time": (lambda t: edit(entry(t, 8), b'"t":"2', b'"t":"1'), 22, "entry 8"),
    "entry: spaces, same meaning": (lambda t: edit(entry(t, 8), b":", b": "), 22, "entry 8"),
    "entry: two swapped": (lambda t: swap(entry(t, 7), entry(t, 8)), 22, "entry 7"),
    "entry: two swapped with their proofs": (
        lambda t: (swap(entry(t, 7), entry(t, 8)), swap(proof(t, 7), proof(t, 8)), None)[2],
        22,
        "entry 7",
    ),
    "entry: under another index": (lambda t: move_entry(t, 14, 4), 22, "entry 4"),
    "entry: not in the index": (orphan_entry, 22, "entry 2"),
    "chain: the seal dropped": (lambda t: remove_entry(t, 7), 22, "CLIP1"),
    "chain: a view dropped": (lambda t: remove_entry(t, 14), 22, "CLIP1"),
    "chain: the export dropped": (lambda t: remove_entry(t, 17), 22, "CLIP1"),
    "chain: a link dropped": (lambda t: remove_entry(t, 13), 22, "CLIP1"),
    "case: its opening dropped": (lambda t: remove_entry(t, 11), 22, "case"),
    "case: taken out": (remove_case, 26, "entry 16"),
    "clip: taken out with its chain": (lambda t: remove_clip(t, 2), 26, "entry 16"),
    "proof: one bit": (lambda t: flip(proof(t, 8), 60), 22, "entry 8"),
    "proof: missing": (lambda t: proof(t, 8).unlink(), 22, "entry 8"),
    "proof: of another entry": (lambda t: overwrite(proof(t, 8), proof(t, 9).read_bytes()), 22, "entry 8"),
    "checkpoint: one bit of the root": (lambda t: flip(t / "data" / "checkpoint", 40), 20, "data/checkpoint"),
    "checkpoint: another size": (lambda t: edit(t / "data" / "checkpoint", b"\n19\n", b"\n20\n"), 20, "data/checkpoint"),
    "checkpoint: unsigned": (
        lambda t: overwrite(t / "data" / "checkpoint", (t / "data" / "checkpoint").read_bytes().split(b"\xe2")[0]),
        20,
        "data/checkpoint",
    ),
    "key: one bit": (lambda t: flip(t / "data" / "vkey", 45), 20, "key"),
    "record: one bit of a value": (lambda t: edit(record(t, 14), "案件".encode(), "条件".encode()), 25, "entry 14"),
    "record: one bit of a salt": (lambda t: flip(record(t, 14), len('{"fields":{"account":{"salt":"')), 25, "entry 14"),
    "record: missing": (lambda t: record(t, 14).unlink(), 25, "entry 14"),
    "record: two swapped": (lambda t: swap(record(t, 12), record(t, 13)), 25, "entry 12"),
    "record: number of clips withheld": (
        lambda t: edit_record(record(t, 16), "clips"),
        26,
        "entry 16",
    ),
    "record: a stranger's": (lambda t: overwrite_new(t / "data" / "records" / f"{'0' * 64}.json"), 25, "records/000"),
    "index: another size": (lambda t: edit_index(t, lambda d: d["clips"][1].update(bytes=1)), 26, "CLIP1"),
    "index: another name": (lambda t: edit_index(t, lambda d: d["clips"][1].update(name="x")), 26, "CLIP1"),
    "record: same meaning, other spelling": (lambda t: edit(record(t, 14), b'"v":1', b'"v": 1'), 25, "entry 14"),
    "index: another order of entries": (lambda t: edit_index(t, lambda d: d["clips"][1]["entries"].reverse()), 26, "CLIP1"),
    "index: two files exchanged": (
        lambda t: edit_index(
            t, lambda d: d["clips"][1].update(file=d["clips"][2]["file"]) or d["clips"][2].update(file="data/vkey")
        ),
        21,
        "CLIP1",
    ),
    "index: no clips": (lambda t: edit_index(t, lambda d: d.update(clips=[])), 26, "names no clip"),
    "index: not an object": (lambda t: overwrite(t / "data" / "clips.json", b"[]"), 29, "bag"),
    "bagit.txt: another version": (lambda t: edit(t / "bagit.txt", b"1.0", b"9.9"), 29, "bagit.txt"),
}  # fmt: skip


def overwrite_new(path: Path) -> None:
    path.write_bytes(b"{}")


def edit_record(path: Path, field: str) -> None:
    """Withhold a field of a record properly, by its commitment."""
    from vault.entry import commit_field

    document = json.loads(path.read_text("utf-8"))
    content_ = document["fields"][field]
    commitment = commit_field(field, content_["value"], bytes.fromhex(content_["salt"])).hex()
    document["fields"][field] = {"commitment": commitment}
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    path.write_text(text, "utf-8")


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack_on_the_bag_is_found_and_named(original: Scene, top: Path, name: str) -> None:
    """REC-06: the attacker writes the manifests anew, so that BagIt alone would notice nothing."""
    attack, code, named = ATTACKS[name]
    attack(top)
    rebag(top)
    status, report = check_bag(top)
    for number, clip in enumerate(original.clips):
        named = named.replace(f"CLIP{number}", f"clip {clip}")
    assert status == report["exit"] == code
    assert named in blamed(report)


@pytest.mark.parametrize(
    "name",
    [name for name in ATTACKS if name.endswith(("one bit", "first bit", "missing", "of a salt", "another size"))],
)
def test_a_careless_attack_is_found_by_the_manifests_too(top: Path, name: str) -> None:
    attack, code, _ = ATTACKS[name]
    attack(top)
    status, report = check_bag(top)
    assert status != 0
    assert code in {fault["code"] for fault in report["faults"]}
    assert report["steps"][0]["outcome"] == "FAULT" or name.startswith("footage")


@pytest.mark.parametrize(
    "name",
    ["VERIFY.md", "bag-info.txt", "data/certificate.html", "data/README.txt", "manifest-sha256.txt", "verify.py"],
)
def test_every_other_file_is_under_the_manifests(top: Path, name: str) -> None:
    flip(top / name)
    status, report = check_bag(top)
    assert report["steps"][0]["outcome"] == "FAULT"
    assert status == (report["faults"][0]["code"] if name.startswith("manifest") else 29)
    assert name in blamed(report) or "manifest" in blamed(report)


def test_a_file_that_is_not_listed_is_named(top: Path) -> None:
    (top / "data" / "extra.txt").write_text("x")
    (top / "start.exe").write_text("x")
    status, report = check_bag(top)
    assert status == 29
    assert "data/extra.txt" in blamed(report)
    assert "start.exe" in blamed(report)


def test_a_link_out_of_the_folder_is_refused(top: Path) -> None:
    path = media(top, 1)
    path.unlink()
    path.symlink_to("/etc/passwd")
    done = subprocess.run([sys.executable, "-I", "-S", str(VERIFY_PY), str(top)], capture_output=True, check=False)
    assert done.returncode == 29
    assert b"symbolic link" in done.stdout


@pytest.mark.parametrize("name", ["../evil", "/evil", "top/../../evil", "top\\..\\evil", "top/C:/x", "other/x", "bare"])
def test_a_zip_with_names_that_climb_is_refused(packed: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(packed, tmp_path / "bag.zip")
    with zipfile.ZipFile(tmp_path / "bag.zip", "a") as archive:
        archive.writestr(name, "x")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(VERIFY_PY), str(tmp_path / "bag.zip")], capture_output=True, check=False
    )
    assert done.returncode == 29


def test_a_zip_with_one_name_twice_is_refused(packed: Path, tmp_path: Path) -> None:
    """Which of two equal names a program shows is its own affair; so neither is believed."""
    shutil.copy(packed, tmp_path / "bag.zip")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(tmp_path / "bag.zip", "a") as archive:
            archive.writestr(archive.namelist()[0], "x")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(VERIFY_PY), str(tmp_path / "bag.zip")], capture_output=True, check=False
    )
    assert done.returncode == 29


@pytest.mark.parametrize("damage", ["cut", "garbage", "missing"])
def test_what_is_no_bag_at_all_is_status_1_and_no_trace(packed: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "bag.zip"
    if damage != "missing":
        path.write_bytes(packed.read_bytes()[:5000] if damage == "cut" else os.urandom(5000))
    done = subprocess.run([sys.executable, "-I", "-S", str(VERIFY_PY), str(path)], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_a_flipped_byte_of_footage_inside_the_zip_names_the_clip(original: Scene, packed: Path, tmp_path: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[data.find(content(1)) + 700_000] ^= 1
    (tmp_path / "bag.zip").write_bytes(data)
    status, report = check_bag(tmp_path / "bag.zip")
    assert status == 21
    assert f"clip {original.clips[1]}" in blamed(report)


class MemoryBag:
    """A bag in memory, with manifests that are always right: thirty thousand attacks take two minutes, not hours."""

    def __init__(self, top: Path) -> None:
        names = [path for path in top.rglob("*") if path.is_file()]
        self.paths = {path.relative_to(top).as_posix(): path.read_bytes() for path in names}
        self.digests = {name: hashlib.sha256(data).hexdigest() for name, data in self.paths.items()}

    def put(self, name: str, data: bytes) -> None:
        self.paths[name] = data
        self.digests[name] = hashlib.sha256(data).hexdigest()
        payload = {name: digest for name, digest in self.digests.items() if name.startswith("data/")}
        self.paths["manifest-sha256.txt"] = manifest(payload)
        self.digests["manifest-sha256.txt"] = hashlib.sha256(self.paths["manifest-sha256.txt"]).hexdigest()
        tags = set(self.digests) - set(payload) - {"tagmanifest-sha256.txt"}
        self.paths["tagmanifest-sha256.txt"] = manifest({name: self.digests[name] for name in tags})

    def open(self, name: str) -> io.BytesIO:
        return io.BytesIO(self.paths[name])

    def faults(self, verifier: ModuleType) -> list[Any]:
        check = verifier.Check(self, None, None)
        for number in sorted(verifier.TITLES):
            check.run(number)
        faults: list[Any] = check.faults
        return faults


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_flipped_bit_under_data_goes_unnoticed(
    verifier: ModuleType, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REC-06: bytes of entries, proofs, records, checkpoint, key and index, with manifests made anew each time.

    Two hundred of each file; every byte when LIUHEN_TEST_FULL is set.
    """
    bag = MemoryBag(unpacked)
    reading = verifier.Check.hash_footage  # the footage never changes here: it is read once
    files = [item["file"] for item in index_of(unpacked)["clips"]]
    read = {(name, 1 << 20): reading(verifier.Check(bag, None, None), name, 1 << 20) for name in files}
    monkeypatch.setattr(verifier.Check, "hash_footage", lambda check, *of: read.get(of) or reading(check, *of))
    monkeypatch.setattr(verifier, "ed25519_holds", functools.lru_cache(verifier.ed25519_holds))
    assert bag.faults(verifier) == []
    judged = ("data/entries/", "data/proofs/", "data/records/", "data/checkpoint", "data/vkey", "data/clips.json")
    for name in [name for name in bag.paths if name.startswith(judged)]:
        data = bag.paths[name]
        for at in sampled(range(len(data)), 200):
            bag.put(name, data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
            assert bag.faults(verifier), f"{name}, byte {at}"
        bag.put(name, data)
    assert bag.faults(verifier) == []


# --- its arithmetic, against ours and others' ----------------------------------------------------------------------------------


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200), bit=st.integers(0, 511))
@settings(max_examples=25)
def test_its_ed25519_agrees_with_cryptography(verifier: ModuleType, seed: bytes, message: bytes, bit: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), bytearray(key.sign(message))
    assert verifier.ed25519_holds(public, message, bytes(signature))
    signature[bit // 8] ^= 1 << bit % 8
    assert not verifier.ed25519_holds(public, message, bytes(signature))


def test_its_ed25519_refuses_what_rfc_8032_refuses(verifier: ModuleType) -> None:
    key = Ed25519PrivateKey.generate()
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"m")
    malleable = signature[:32] + (int.from_bytes(signature[32:], "little") + verifier.ORDER).to_bytes(32, "little")
    for bad in (malleable, signature[:-1], signature + b"\0", b"", bytes(64)):
        assert not verifier.ed25519_holds(public, b"m", bad)
    assert not verifier.ed25519_holds((verifier.P + 1).to_bytes(32, "little"), b"m", signature)  # not canonical
    assert (
        verifier.parse_vkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[0] == "PeterNeumann"
    )


def test_its_tree_is_ours(verifier: ModuleType) -> None:
    leaves = [verifier.sha256(bytes([n])) for n in range(40)]
    for size in range(41):
        assert verifier.tree_root(leaves[:size]) == root_of(leaves[:size])


@given(
    index=st.integers(0, 20), size=st.integers(0, 20), hashes=st.lists(st.binary(min_size=32, max_size=32), max_size=6)
)
def test_its_inclusion_check_agrees_with_ours(verifier: ModuleType, index: int, size: int, hashes: list[bytes]) -> None:
    leaf = bytes(32)
    root = verifier.inclusion_root(index, size, leaf, hashes)
    try:
        verify_inclusion(index=index, size=size, leaf=leaf, proof=hashes, root=root or bytes(32))
        ours = True
    except EntryInvalidError:
        ours = False
    assert ours == (root is not None)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c), max_leaves=12))  # fmt: skip
def test_its_canonical_json_is_rfc_8785(verifier: ModuleType, value: object) -> None:
    from vault.entry import field_value_bytes

    try:
        expected = field_value_bytes(value)
    except (ValueError, UnicodeError):
        return
    assert verifier.canonical_bytes(value) == expected

#!/usr/bin/env python3
"""Check a Liuhen (留痕) evidence bag, offline, without Liuhen and without trusting who made it.

    python3 verify.py [--vkey KEY | --fingerprint HEX] [--json] [DIR | ZIP]

One file, Python 3.6 or later, standard library only; read it: the steps below are the code. VERIFY.md explains them
and gives the same checks as commands of other people's tools. Nothing is unpacked, written or fetched.

 1. The bag is as it was packed: nothing missing, nothing added, every file has its listed SHA-256 (BagIt, RFC 8493).
    (Footage is hashed once, in step 7.)
 2. The log's public key: the one you gave, or the one in the bag, whose fingerprint you compare with paper.
 3. The checkpoint (log name, number of entries, root hash) is signed by that key (C2SP signed note, Ed25519).
 4. Every entry in the bag is in the log at its index: inclusion proof up to the signed root (RFC 9162), canonical form.
 5. The custody chain of every clip, and of the case, is whole and in order: each entry names the one before it; the
    first is the seal, the last is this very export, so neither head, middle nor tail can be left out.
 6. Every record in the bag opens the salted commitment which its entry holds.
 7. Every footage file has the size, SHA-256 and chunk root that were sealed.
 8. The index of the bag (clips.json) says what the log says, and the bag holds all that the export entry names.

Exit status: 0 all steps hold; 20 key or checkpoint; 21 content; 22 entry or chain; 24 footage missing; 25 record;
26 index of the bag; 29 other fault of the bag; 2 usage; 1 the bag cannot be read.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import io
import json
import os
import re
import sys
import unicodedata
import zipfile

KEY, CONTENT, ENTRY, MISSING, RECORD, INDEX, OTHER = 20, 21, 22, 24, 25, 26, 29
SMALL_FILE_BYTES_MAX = 256 << 20  # anything but footage; a hostile bag must not fill the memory
INDEX_KEYS = {"clip", "file", "name", "bytes", "entries"}
TITLES = {
    1: ("The bag is as it was packed", "证据包与打包时一致, 无缺失、无增添"),
    2: ("The log's public key", "日志公钥"),
    3: ("The checkpoint is signed by that key", "检查点由该公钥对应的私钥签名"),
    4: ("Every entry is in the signed log", "每条记录都在已签名的日志之中"),
    5: ("The custody chains are whole and in order", "保管链完整、有序"),
    6: ("Every record opens its commitment", "每份附属记录与日志中的承诺一致"),
    7: ("Footage has the sealed integrity values", "音像文件的完整性校验值与封存时一致"),
    8: ("Index and contents are those of the logged export", "包内索引与内容即日志所载的本次导出"),
}
MEANING = {
    KEY: "公钥或检查点签名不成立", CONTENT: "内容与封存或打包时的完整性校验值不符",
    ENTRY: "日志条目被改动、缺失、插入或换序", MISSING: "音像文件缺失", RECORD: "附属记录缺失或被改动",
    INDEX: "包内索引与日志不符", OTHER: "证据包的结构有误",
}  # fmt: skip


class Fault(Exception):
    """One thing that does not hold: exit status, the clip, entry or file at fault, and what is wrong with it."""

    def __init__(self, code, where, what):
        super(Fault, self).__init__("%s: %s" % (where, what))
        self.code, self.where, self.what = code, where, what


# --- the bag, as a folder or as a zip ------------------------------------------------------------------------------


def is_litter(name):
    """Tell files that desktops drop into every folder they show; they are named in the report and otherwise ignored."""
    last = name.split("/")[-1]
    return last in (".DS_Store", "Thumbs.db", "desktop.ini") or last.startswith("._")


def safe_name(name):
    parts = name.split("/")
    return not ("\\" in name or name.startswith("/") or ":" in parts[0] or "" in parts or "." in parts or ".." in parts)


class Folder(object):
    def __init__(self, root):
        self.root = os.fsencode(root)  # bytes: Chinese names open under any locale
        self.paths = {}
        for directory, folders, files in os.walk(self.root):
            for raw in files + [f for f in folders if os.path.islink(os.path.join(directory, f))]:
                path = os.path.join(directory, raw)
                name = os.path.relpath(path, self.root).replace(os.fsencode(os.sep), b"/")
                name = unicodedata.normalize("NFC", name.decode("utf-8", "replace"))
                if os.path.islink(path):
                    raise Fault(OTHER, name, "is a symbolic link")
                self.paths[name] = path

    def open(self, name):
        path = self.paths[name]
        return open(path if os.name == "posix" else os.fsdecode(path), "rb")


class Zip(object):
    def __init__(self, path):
        self.zip = zipfile.ZipFile(path)
        self.paths = {}
        names = [i.filename for i in self.zip.infolist() if not i.filename.endswith("/")]
        names = [n for n in names if not n.startswith("__MACOSX/")]
        tops = {n.split("/")[0] for n in names}
        if len(tops) != 1 or any(not safe_name(n) or "/" not in n for n in names):
            raise Fault(OTHER, os.path.basename(path), "is not one bag in one folder")
        for name in names:
            short = unicodedata.normalize("NFC", name.split("/", 1)[1])
            if short in self.paths:
                raise Fault(OTHER, short, "is in the zip twice")
            self.paths[short] = name

    def open(self, name):
        return self.zip.open(self.paths[name])


def read(bag, name, code=OTHER):
    """Return a small file's bytes, or raise the fault that names it."""
    if name not in bag.paths:
        raise Fault(code, label(name), "is missing")
    try:
        with bag.open(name) as stream:
            data = stream.read(SMALL_FILE_BYTES_MAX + 1)
    except (OSError, EOFError, zipfile.BadZipFile, binascii.Error, ValueError, RuntimeError) as err:
        raise Fault(code, label(name), "cannot be read (%s)" % err)
    if len(data) > SMALL_FILE_BYTES_MAX:
        raise Fault(code, label(name), "is far too large for its kind")
    return data


def label(name):
    """Name a file by what it stands for, so that a fault says which entry it concerns."""
    match = re.match(r"^data/(entries|proofs)/(0|[1-9][0-9]*)\.", name)
    return "entry %s (%s)" % (match.group(2), name) if match else name


def code_of(name):
    if name.startswith(("data/entries/", "data/proofs/")):
        return ENTRY
    if name.startswith("data/media/"):
        return CONTENT
    if name.startswith("data/records/"):
        return RECORD
    return {"data/checkpoint": KEY, "data/vkey": KEY, "data/clips.json": INDEX}.get(name, OTHER)


# --- hashes, tree, signature -----------------------------------------------------------------------------------------


def sha256(data):
    return hashlib.sha256(data).digest()


def node(left, right):
    return sha256(b"\x01" + left + right)


def tree_root(level):
    """RFC 9162 tree hash over leaf hashes: neighbours are joined, an odd last one rises unchanged."""
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [node(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0] if level else sha256(b"")


def inclusion_root(index, size, leaf, proof):
    """Return the root to which `proof` leads from the leaf at `index` (RFC 9162, 2.1.3.2), or None if it cannot."""
    if not 0 <= index < size:
        return None
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            r = node(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(r, p)
        fn, sn = fn >> 1, sn >> 1
    return r if sn == 0 else None


# Ed25519 verification, RFC 8032 section 5.1.7: points as (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def point_add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_times(scalar, point):
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = point_add(total, point)
        point = point_add(point, point)
        scalar >>= 1
    return total


def point_decode(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


BASE = point_decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_holds(public, message, signature):
    point, s = point_decode(public), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or point is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    minus = (P - point[0], point[1], 1, P - point[3])
    x, y, z, _ = point_add(point_times(s, BASE), point_times(k, minus))
    inverse = pow(z, P - 2, P)
    x, y = x * inverse % P, y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


def unbase64(text, code, where):
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, UnicodeEncodeError):
        data = b""
    if not data or base64.b64encode(data).decode("ascii") != text:
        raise Fault(code, where, "has malformed base64: %r" % text[:50])
    return data


def parse_vkey(text):
    """Read `name+<hex id>+<base64>`; returns (name, id, Ed25519 public key)."""
    name, _, rest = text.partition("+")
    identity, _, encoded = rest.partition("+")
    raw = unbase64(encoded, KEY, "key")
    if not re.fullmatch(r"[^\s+]+", name) or len(raw) != 33 or raw[0] != 1:
        raise Fault(KEY, "key", "is not an Ed25519 vkey: %r" % text[:80])
    key_id = sha256(name.encode("utf-8") + b"\n" + raw)[:4]
    if key_id.hex() != identity:
        raise Fault(KEY, "key", "its id does not belong to it: %r" % text[:80])
    return name, key_id, raw[1:]


def fingerprint(vkey):
    """SHA-256 of the vkey line with its newline, which is what `sha256sum data/vkey` prints."""
    return hashlib.sha256(vkey.encode("utf-8") + b"\n").hexdigest()


# --- canonical JSON (RFC 8785 without floats, which no entry or record holds) ----------------------------------------


def canonical(value):
    if isinstance(value, dict):
        keys = sorted(value, key=lambda k: k.encode("utf-16-be", "surrogatepass"))
        return "{%s}" % ",".join(canonical(k) + ":" + canonical(value[k]) for k in keys)
    if isinstance(value, list):
        return "[%s]" % ",".join(canonical(v) for v in value)
    if isinstance(value, float):
        raise ValueError("floats have no place here")
    return json.dumps(value, ensure_ascii=False)


def canonical_bytes(value):
    return canonical(value).encode("utf-8", "surrogatepass")


def parse_json(data, code, where):
    try:
        return json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as err:
        raise Fault(code, where, "is not JSON (%s)" % err)


# --- the steps -------------------------------------------------------------------------------------------------------


class Check(object):
    """The state carried from step to step; each step raises or collects faults and returns its detail line."""

    def __init__(self, bag, vkey, wanted):
        self.bag, self.vkey, self.wanted = bag, vkey, wanted
        self.faults, self.listed, self.entries, self.root = [], {}, {}, None
        self.size, self.signed, self.key_source, self.clips, self.case = 0, False, "bag", [], None
        self.index, self.opened, self.litter = {}, {}, []

    def fault(self, code, where, what):
        self.faults.append(Fault(code, where, what))

    def run(self, step):
        before = len(self.faults)
        if (step >= 5 and not self.entries) or (step >= 6 and not self.clips):
            return None, []
        try:
            detail = getattr(self, "step%d" % step)()
        except Fault as fault:
            self.faults.append(fault)
            detail = ""
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as err:
            self.fault(OTHER, "bag", "has an unexpected shape (%s: %s)" % (type(err).__name__, err))
            detail = ""
        return detail, self.faults[before:]

    def step1(self):  # (1) every file is listed once, present and has its SHA-256
        bag = self.bag
        if not re.fullmatch(b"BagIt-Version: 1\\.0\nTag-File-Character-Encoding: UTF-8\n", read(bag, "bagit.txt")):
            self.fault(OTHER, "bagit.txt", "does not declare a BagIt 1.0 bag")
        tags = self.manifest("tagmanifest-sha256.txt")
        self.listed = self.manifest("manifest-sha256.txt")
        expected = set(tags) | set(self.listed) | {"tagmanifest-sha256.txt"}
        for name in sorted(expected - set(bag.paths)):
            code = MISSING if name.startswith("data/media/") else code_of(name)
            self.fault(code, label(name), "is listed but missing")
        for name in sorted(set(bag.paths) - expected):
            if is_litter(name):
                self.litter.append(name)
            else:
                self.fault(code_of(name), label(name), "is in the bag but not listed")
        listed = dict(self.listed)
        listed.update(tags)
        for name in sorted(n for n in listed if n in bag.paths and not n.startswith("data/media/")):
            if hashlib.sha256(read(bag, name, code_of(name))).hexdigest() != listed[name]:
                self.fault(code_of(name), label(name), "does not have the SHA-256 listed for it")
        ignored = "; ignored / 忽略: %s" % ", ".join(self.litter) if self.litter else ""
        return "%d files / 个文件%s" % (len(expected), ignored)

    def manifest(self, manifest):
        listed = {}
        lines = read(self.bag, manifest).decode("utf-8", "replace").split("\n")
        payload = manifest.startswith("manifest")
        for line in lines[:-1]:
            match = re.fullmatch("([0-9a-f]{64})  (.+)", line)
            name = unicodedata.normalize("NFC", match.group(2)) if match else ""
            if not match or not safe_name(name) or name in listed or name.startswith("data/") != payload:
                raise Fault(OTHER, manifest, "has a malformed line: %r" % line[:120])
            listed[name] = match.group(1)
        if lines[-1]:
            raise Fault(OTHER, manifest, "does not end with a newline")
        return listed

    def step2(self):  # (2) the key
        in_bag = read(self.bag, "data/vkey", KEY).decode("utf-8", "replace").rstrip("\n")
        if self.vkey is None:
            self.vkey = in_bag
        else:
            self.key_source = "given"
            if self.vkey != in_bag:
                self.fault(KEY, "data/vkey", "is not the key you gave")
        parse_vkey(self.vkey)
        if self.wanted is not None:
            self.key_source = "fingerprint"
            if fingerprint(self.vkey) != self.wanted:
                self.fault(KEY, "data/vkey", "has fingerprint %s, not the one you gave" % fingerprint(self.vkey))
        return "SHA-256 %s" % fingerprint(self.vkey)

    def step3(self):  # (3) the checkpoint's signature
        where = "data/checkpoint"
        self.note = read(self.bag, where, KEY)
        text, _, signatures = self.note.decode("utf-8", "replace").rpartition("\n\n")
        match = re.fullmatch("([^\n]+)\n(0|[1-9][0-9]{0,18})\n([^\n]{44})", text)
        if not match:
            raise Fault(KEY, where, "is not a checkpoint of three lines and signatures")
        origin, self.size, self.root = match.group(1), int(match.group(2)), unbase64(match.group(3), KEY, where)
        name, identity, public = parse_vkey(self.vkey)
        if name != origin:
            raise Fault(KEY, where, "is of log %r, but the key is of %r" % (origin, name))
        for line in signatures.split("\n")[:-1]:
            parts = re.fullmatch("— ([^ ]+) ([^ ]+)", line)
            if not parts:
                raise Fault(KEY, where, "has a malformed signature line")
            raw = unbase64(parts.group(2), KEY, where)
            if parts.group(1) == name and raw[:4] == identity:
                if not ed25519_holds(public, (text + "\n").encode("utf-8"), raw[4:]):
                    raise Fault(KEY, where, "the signature of %s does not hold" % name)
                self.signed = True
        if not self.signed or not signatures.endswith("\n"):
            self.signed = False
            raise Fault(KEY, where, "is not signed by %s" % name)
        return "%s, %d entries, root %s" % (origin, self.size, self.root.hex())

    def step4(self):  # (4) every entry, in canonical form, is included under the signed root
        if self.root is None:
            raise Fault(KEY, "data/checkpoint", "gives no root to check entries against")
        names = (set(self.bag.paths) | set(self.listed)) - set(self.litter)
        names = [n for n in names if n.startswith(("data/entries/", "data/proofs/"))]
        numbers = set()
        for name in names:
            match = re.fullmatch(r"data/(?:entries/(0|[1-9][0-9]*)\.json|proofs/(0|[1-9][0-9]*)\.tlog-proof)", name)
            if not match:
                self.fault(ENTRY, name, "is not named by an index")
            else:
                numbers.add(int(match.group(1) or match.group(2)))
        previous = ""
        for number in sorted(numbers):
            try:
                self.entries[number] = entry = self.entry(number)
                if entry["t"] < previous:
                    self.fault(ENTRY, "entry %d" % number, "is earlier than the entry before it")
                previous = entry["t"]
            except Fault as fault:
                self.faults.append(fault)
            except (KeyError, TypeError, AttributeError, ValueError) as err:
                self.fault(ENTRY, "entry %d" % number, "has not the form of an entry (%s)" % err)
        if not self.entries:
            raise Fault(ENTRY, "data/entries", "holds no entry that verifies")
        return "%d entries / 条" % len(numbers)

    def entry(self, number):
        where = "entry %d" % number
        data = read(self.bag, "data/entries/%d.json" % number, ENTRY)
        proof = read(self.bag, "data/proofs/%d.tlog-proof" % number, ENTRY)
        head, _, note = proof.partition(b"\n\n")
        lines = head.decode("utf-8", "replace").split("\n")
        if note != self.note:
            raise Fault(ENTRY, where, "its proof is not against data/checkpoint")
        if lines[0] != "c2sp.org/tlog-proof@v1" or lines[1:2] != ["index %d" % number]:
            raise Fault(ENTRY, where, "its proof is not a tlog-proof of index %d" % number)
        hashes = [unbase64(line, ENTRY, where) for line in lines[2:]]
        if inclusion_root(number, self.size, sha256(b"\x00" + data), hashes) != self.root:
            raise Fault(ENTRY, where, "does not lead to the signed root: it was changed, moved or never logged")
        entry = parse_json(data, ENTRY, where)
        said, prev = entry["statement"], entry["prev"]
        subjects = {kind: said[kind] for kind in ("clip", "case", "device") if kind in said}
        if canonical_bytes(entry) != data or set(entry) != {"v", "t", "prev", "statement"} or entry["v"] != 1:
            raise Fault(ENTRY, where, "is not a canonical entry of version 1")
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["t"]) or set(prev) != set(subjects):
            raise Fault(ENTRY, where, "its time or its links have not the right form")
        if not all(isinstance(i, int) and -1 <= i < number for i in prev.values()) or not said["id"] + said["type"]:
            raise Fault(ENTRY, where, "links to an entry that is not before it")
        return entry

    def step5(self):  # (5) the chains
        self.index = parse_json(read(self.bag, "data/clips.json", INDEX), INDEX, "data/clips.json")
        self.clips, self.case = self.index["clips"], self.index["case"]
        if set(self.index) != {"v", "export", "case", "clips", "context"} or self.index["v"] != 1:
            self.fault(INDEX, "data/clips.json", "is not an index of version 1")
        explained = set(self.index["context"])
        for item in self.clips:
            chain = self.chain("clip", item["clip"])
            explained.update(chain)
            said = [self.entries[i]["statement"] for i in chain]
            where = "clip %s" % item["clip"]
            if not said or [s["type"] for s in said].count("clip.sealed") != 1 or said[0]["type"] != "clip.sealed":
                self.fault(ENTRY, where, "its chain does not begin with its one seal")
            if not said or said[-1]["type"] != "clip.exported" or said[-1]["export"] != self.index["export"]:
                last = "entry %d" % chain[-1] if chain else "nothing"
                self.fault(ENTRY, where, "its chain ends with %s, not with this export" % last)
        if not self.clips:
            self.fault(INDEX, "data/clips.json", "names no clip")
        if self.case:
            chain = self.chain("case", self.case["case"])
            explained.update(chain)
            if not chain or self.entries[chain[0]]["statement"]["type"] != "case.opened":
                self.fault(ENTRY, "case %s" % self.case["case"], "its chain does not begin with its opening")
        for number in sorted(set(self.entries) - explained):
            self.fault(ENTRY, "entry %d" % number, "belongs to no clip or case of this bag: it was inserted")
        return "%d clips / 个音像文件" % len(self.clips)

    def chain(self, kind, subject):
        """Return the indexes of a subject's entries in order; every entry must name the one before it."""
        chain = self.about(kind, subject)
        previous = -1
        for number in chain:
            named = self.entries[number]["prev"][kind]
            if named != previous:
                what = "names entry %d as the one before it, the bag has entry %d: " % (named, previous)
                what += "entry %d is missing or was changed" % named if named > previous else "one was inserted"
                self.fault(ENTRY, "%s %s, entry %d" % (kind, subject, number), what)
            previous = number
        return chain

    def step6(self):  # (6) the records
        bodies = {}
        for number, entry in self.entries.items():
            if "body" in entry["statement"]:
                bodies[entry["statement"]["body"].rpartition(":")[2]] = number
        opened = withheld = 0
        for name in sorted(n for n in set(self.bag.paths) - set(self.litter) if n.startswith("data/records/")):
            match = re.fullmatch("data/records/([0-9a-f]{64})[.]json", name)
            if not match or match.group(1) not in bodies:
                self.fault(RECORD, name, "belongs to no entry of this bag")
                continue
            number = bodies.pop(match.group(1))
            try:
                withheld += self.record(number, name, match.group(1))
            except Fault as fault:
                self.fault(RECORD, "entry %d (%s)" % (number, name), fault.what)
            except (KeyError, TypeError, AttributeError, ValueError) as err:
                self.fault(RECORD, "entry %d (%s)" % (number, name), "has not the form of a record (%s)" % err)
            opened += 1
        for body, number in sorted(bodies.items(), key=lambda item: item[1]):
            self.fault(RECORD, "entry %d" % number, "its record %s is not in the bag" % body)
        return "%d records / 份, %d fields withheld / 项未披露" % (opened, withheld)

    def record(self, number, name, body):
        data = read(self.bag, name, RECORD)
        document = parse_json(data, RECORD, name)
        written = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        if set(document) != {"v", "fields"} or repr(document["v"]) != "1":
            raise Fault(RECORD, name, "is not a record of version 1")
        if written.encode("utf-8", "surrogatepass") != data:
            raise Fault(RECORD, name, "is not in the form in which records are written")
        commitments, withheld, values = {}, 0, {}
        for field, content in document["fields"].items():
            text = content["salt"] if set(content) == {"value", "salt"} else content["commitment"]
            if not re.fullmatch("[0-9a-f]{64}", text):
                raise Fault(RECORD, name, "has a malformed salt or commitment")
            if "salt" in content:
                message = field.encode("utf-8") + b"\0" + canonical_bytes(content["value"])
                text = hmac.new(bytes.fromhex(text), message, hashlib.sha256).hexdigest()
                values[field] = content["value"]
            else:
                withheld += 1
            commitments[field] = text
        if hashlib.sha256(canonical_bytes(commitments)).hexdigest() != body:
            raise Fault(RECORD, name, "does not open the commitment in the log: it was changed")
        self.opened[number] = values
        return withheld

    def step7(self):  # (7) the footage
        claimed, total = set(), 0
        for item in self.clips:
            where, name = "clip %s" % item["clip"], item["file"]
            claimed.add(name)
            seals = [e["statement"] for e in self.entries.values() if e["statement"]["type"] == "clip.sealed"]
            seals = [s for s in seals if s["clip"] == item["clip"]]
            if not seals or name not in self.bag.paths:
                self.fault(MISSING if seals else ENTRY, where, "has no %s" % (name if seals else "seal in this bag"))
                continue
            try:
                size, digest, root = self.hash_footage(name, seals[0]["chunk_bytes"])
            except (OSError, EOFError, zipfile.BadZipFile, RuntimeError) as err:
                self.fault(CONTENT, where, "%s cannot be read (%s)" % (name, err))
                continue
            total += size
            for what, found, sealed in (
                ("bytes", size, seals[0]["bytes"]),
                ("SHA-256", "sha256:" + digest, seals[0]["clip"]),
                ("chunk root", root, seals[0]["chunk_root"].rpartition(":")[2]),
            ):
                if found != sealed:
                    self.fault(CONTENT, where, "%s has %s %s, sealed was %s" % (name, what, found, sealed))
            if self.listed.get(name) != digest:
                self.fault(CONTENT, where, "%s does not have the SHA-256 listed for it" % name)
        for name in sorted(
            n for n in self.bag.paths if n.startswith("data/media/") and n not in claimed | set(self.litter)
        ):
            self.fault(CONTENT, name, "belongs to no clip of this bag")
        return "%d bytes / 字节" % total

    def hash_footage(self, name, chunk_bytes):
        if not isinstance(chunk_bytes, int) or not 1 <= chunk_bytes <= 1 << 30:
            raise Fault(ENTRY, name, "is sealed with an impossible chunk size")
        whole, leaves, size = hashlib.sha256(), [], 0
        with self.bag.open(name) as stream:
            while True:
                chunk = stream.read(chunk_bytes)  # files and zip members give less only at their end
                if not chunk:
                    return size, whole.hexdigest(), tree_root(leaves).hex()
                size += len(chunk)
                whole.update(chunk)
                leaves.append(sha256(b"\x00" + chunk))

    def step8(self):  # (8) clips.json, by which people find files, and what the export entry says was handed out
        where, seen = "data/clips.json", [item["clip"] for item in self.clips]
        for item in self.clips:
            clip, chain = "clip %s" % item["clip"], self.about("clip", item["clip"])
            seal = self.entries[chain[0]]["statement"] if chain else {}
            name = self.opened.get(chain[0], {}).get("name", item["name"]) if chain else None
            if item["entries"] != chain or item["bytes"] != seal.get("bytes") or seen.count(item["clip"]) > 1:
                self.fault(INDEX, clip, "%s says other entries or another size than the log" % where)
            if set(item) != INDEX_KEYS or item["name"] != name:
                self.fault(INDEX, clip, "%s gives it another name than its record" % where)
        if self.case and self.case["entries"] != self.about("case", self.case["case"]):
            self.fault(INDEX, "case %s" % self.case["case"], "%s says other entries than the log" % where)
        exported = self.about("export", self.index["export"])
        named = [self.entries[i]["statement"]["clip"] for i in exported]
        for clip in sorted(set(named) ^ set(seen)):
            self.fault(INDEX, "clip %s" % clip, "is named by the export or by %s, but not by both" % where)
        for number in exported:
            record, entry = self.opened.get(number, {}), "entry %d (this export)" % number
            if record.get("clips") != len(named):
                what = "says %s clips were handed out, the bag has %d: one was taken out or put in"
                self.fault(INDEX, entry, what % (record.get("clips"), len(named)))
            if record.get("case") != (self.case["case"] if self.case else None):
                self.fault(INDEX, entry, "speaks of case %s, %s of another or none" % (record.get("case"), where))
            elif self.case and self.about("case", self.case["case"])[-1:] != [record.get("case_head")]:
                what = "its chain does not end with entry %s" % record["case_head"]
                self.fault(ENTRY, "case %s" % self.case["case"], what)
        return "export / 导出 %s" % self.index["export"]

    def about(self, kind, subject):
        return [i for i in sorted(self.entries) if self.entries[i]["statement"].get(kind) == subject]


# --- the report ------------------------------------------------------------------------------------------------------


def report_json(check, steps):
    return {
        "exit": check.faults[0].code if check.faults else 0,
        "key": {"vkey": check.vkey, "fingerprint": fingerprint(check.vkey or ""), "source": check.key_source},
        "checkpoint": {"size": check.size, "root": check.root.hex() if check.root else None, "signed": check.signed},
        "clips": [item.get("clip") for item in check.clips],
        "steps": [
            {"number": n, "title_en": TITLES[n][0], "title_zh": TITLES[n][1], "outcome": outcome, "detail": detail}
            for n, outcome, detail in steps
        ],
        "faults": [{"code": f.code, "object": f.where, "message": f.what} for f in check.faults],
    }


def print_report(check, steps):
    for number, outcome, detail in steps:
        print("[%d] %-7s %s / %s" % (number, outcome, TITLES[number][0], TITLES[number][1]))
        if detail:
            print("            %s" % detail)
    for fault in check.faults:
        print("FAULT %d  %s  (%s)" % (fault.code, fault, MEANING[fault.code]))
    codes = {fault.code for fault in check.faults}
    yes_no = lambda bad: "NO 否" if bad else "yes 是"
    print("")
    print("Signature valid          电子签名有效:         %s" % yes_no(codes & {KEY}))
    print("Process reproducible     收集过程可重现:       %s" % yes_no(codes & {ENTRY, RECORD, INDEX, OTHER}))
    print("Integrity value the same 完整性校验值未变:     %s" % yes_no(codes & {CONTENT, MISSING}))
    print("Copy equals the sealed   副本与封存原件一致:   %s" % yes_no(codes & {CONTENT, MISSING, KEY, ENTRY}))
    print("")
    if check.vkey:
        print("Key used / 所用公钥: %s" % check.vkey)
        print("Its fingerprint / 公钥指纹 (SHA-256): %s" % fingerprint(check.vkey))
    if check.key_source == "bag":
        print("This key came with the bag. Compare the fingerprint with one you got on paper or from the agency;")
        print("until then the bag is only shown to agree with itself.")
        print("该公钥取自包内。请与书面或由机关另行提供的指纹核对; 核对之前, 只能说明本包自相一致。")
    if check.faults:
        first = check.faults[0]
        print("RESULT: %d fault(s), first: %s / 结论: 不通过, %s" % (len(check.faults), first, MEANING[first.code]))
        return
    print("Shown: any change, removal or reordering since these clips were sealed would have been found, as far as the")
    print("holder of that key did not help. Not shown: anything before sealing, or that nothing else was recorded.")
    print(
        "已表明: 封存之后的改动、删除、换序均会被发现 (以私钥持有者未参与为限)。未表明: 封存之前的情况, 以及没有其他录像。"
    )
    print("RESULT: all %d steps hold / 结论: %d 步全部通过" % (len(steps), len(steps)))


def main(arguments):
    parser = argparse.ArgumentParser(description="Check a Liuhen evidence bag offline / 离线核验留痕证据包")
    parser.add_argument("bag", nargs="?", help="folder or zip; default: the folder this file is in")
    parser.add_argument("--vkey", help="the log's key, from a source you trust: the line itself or a file that has it")
    parser.add_argument("--fingerprint", help="SHA-256 of the key line, from paper")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    vkey, wanted = options.vkey, options.fingerprint
    if vkey is not None and os.path.isfile(vkey):
        with open(vkey, "rb") as stream:
            vkey = stream.readline().decode("utf-8", "replace")
    wanted = None if wanted is None else re.sub(r"[\s:-]", "", wanted).lower()
    if wanted is not None and not re.fullmatch("[0-9a-f]{64}", wanted):
        parser.error("--fingerprint takes the 64 hexadecimal digits of a SHA-256")
    path = options.bag or os.path.dirname(os.path.abspath(__file__))
    try:
        check = Check(Folder(path) if os.path.isdir(path) else Zip(path), vkey and vkey.strip(), wanted)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as err:
        print("The bag cannot be read / 无法读取证据包: %s" % err, file=sys.stderr)
        return 1
    except Fault as fault:
        print("FAULT %d  %s  (%s)" % (fault.code, fault, MEANING[fault.code]))
        return fault.code
    steps = []
    for number in sorted(TITLES):
        detail, faults = check.run(number)
        steps.append((number, "FAULT" if faults else "not run" if detail is None else "ok", detail))
    if options.json:
        print(json.dumps(report_json(check, steps), ensure_ascii=False, indent=1))
    else:
        print_report(check, steps)
    return check.faults[0].code if check.faults else 0


if __name__ == "__main__":
    for channel in ("stdout", "stderr"):  # a terminal that knows no Chinese shows escapes instead of failing
        stream = getattr(sys, channel)
        wrapped = io.TextIOWrapper(stream.buffer, stream.encoding, "backslashreplace", line_buffering=True)
        setattr(sys, channel, wrapped)
    sys.exit(main(sys.argv[1:]))

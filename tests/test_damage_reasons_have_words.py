"""Each reason for damage that the look into a file can give is read in Chinese as well."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import ingest.probing
from api.damage import in_words

PROBING = Path(ingest.probing.__file__).parent
ANSWERING = {"reason", "decode_jpeg", "_look", "_look_unknown", "_look_container", "_look_image", "_take"}
CHOICES = {"_CORRUPT_TOLD": ["dropped or broken packets"]}  # names in a sentence whose values are words
HAN = re.compile("[\u4e00-\u9fff]")


def strings(node: ast.AST | None) -> list[ast.expr]:
    """Return the literal sentences that an expression can come to."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return [node]
        case ast.IfExp(body=body, orelse=orelse):
            return strings(body) + strings(orelse)
        case ast.BoolOp(values=values) | ast.Tuple(elts=values):
            return [found for value in values for found in strings(value)]
        case ast.Call(func=ast.Name(id="cut_off"), args=[inner, *_]):
            return [cut_off(text) for text in strings(inner)]
        case ast.Call(func=ast.Name(id="DamageError" | "str"), args=[inner, *_]):
            return strings(inner)
        case _:
            return []


def cut_off(what: ast.expr) -> ast.expr:
    values = what.values if isinstance(what, ast.JoinedStr) else [what]
    tail = ast.Constant(" ends at byte 7, the file at 7")
    return ast.JoinedStr([ast.Constant("cut off: "), *values, tail])


def sentences(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[ast.expr] = []
    choices = dict(CHOICES)
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id="what" | "kind" as name)], value=value):
                values = value.func.value.values if isinstance(value, ast.Call) and _is_table(value) else [value]
                words = [written for part in values for text in strings(part) for written in write(text, {})]
                choices[name] = choices.get(name, []) + words
            case ast.Assign(targets=[ast.Attribute(attr="reason") | ast.Name(id="reason")], value=value):
                found += strings(value)
            case ast.Call(func=ast.Name(id="Verdict" | "Facts"), keywords=keywords):
                found += [text for word in keywords if word.arg == "reason" for text in strings(word.value)]
            case ast.Call(func=ast.Name(id="DamageError" | "cut_off")):
                found += strings(node)
            case ast.FunctionDef(name=name) if name in ANSWERING:
                found += [
                    text for part in ast.walk(node) if isinstance(part, ast.Return) for text in strings(part.value)
                ]
            case _:
                pass
    return {text for node in found for text in write(node, choices) if " " in text}


def _is_table(value: ast.Call) -> bool:
    return isinstance(value.func, ast.Attribute) and isinstance(value.func.value, ast.Dict)


def write(node: ast.expr, choices: dict[str, list[str]]) -> list[str]:
    """Return what a literal says, once for each choice of its words; figures are 7."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    assert isinstance(node, ast.JoinedStr)
    texts = [""]
    for part in node.values:
        options = ["7"]
        if isinstance(part, ast.Constant):
            options = [str(part.value)]
        elif isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name):
            options = choices.get(part.value.id) or options
        texts = [text + option for text in texts for option in options]
    return texts


ALL = sorted({text for path in PROBING.rglob("*.py") if path.name != "source.py" for text in sentences(path)})


def test_the_search_for_reasons_finds_them() -> None:
    assert len(ALL) > 70
    for known in (
        "the file is empty",
        "cut off: the picture ends at byte 7, the file at 7",
        "cut off: 7 of 7 pictures lie beyond the end of the file",
        "only zeros at byte 7, where a packet must begin",
        "7 dropped or broken packets, the first at 7",
        "it is named as 7 but is none inside",
    ):
        assert known in ALL


@pytest.mark.parametrize("reason", ALL)
def test_every_reason_has_words_in_chinese(reason: str) -> None:
    said = in_words(reason, "zh-CN")
    assert HAN.search(said), reason
    words = re.findall(r"[A-Za-z]{2,}", said)
    assert {word for word in words if word not in {"moov", "idx", "IEND", "EOF", "RF", "RIFF"}} == set(), said
    assert in_words(reason, "en") == reason


def test_what_a_reason_names_is_translated_too() -> None:
    assert (
        in_words("cut off: box 'mdat' at byte 32 ends at byte 5170, the file at 3102", "zh-CN")
        == "被截断：第 32 字节处的 'mdat' 盒应到第 5170 字节，文件在第 3102 字节结束"
    )
    assert in_words("3 dropped or broken packets, the first at 2.4 s", "zh-CN").endswith("首个位于 2.4 秒")


def test_an_unknown_reason_is_shown_as_it_is_and_safely() -> None:
    assert in_words("eaten by a \x1b[2J dog", "zh-CN") == "eaten by a \ufffd[2J dog"

"""The pages speak two languages, completely."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import vault.errors
from api.web import refusals
from api.web.entry_words import describe
from api.web.i18n import LANGUAGES, choose, translator
from api.web.purposes import PURPOSES, chosen, in_words, kind_of
from transcode.plan import MESSAGES
from vault.entry import VOCABULARY, LogEntry, Statement
from vault.errors import LiuhenError, VaultError

API = Path(refusals.__file__).parent.parent
DYNAMIC = ("role.", "media.", "condition.", "purpose.", "source.", "confidence.", "category.", "error.", "entry.")


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_catalogues_have_the_same_keys_and_placeholders() -> None:
    chinese, english = (translator(language).messages for language in LANGUAGES)
    assert set(chinese) == set(english)
    for key, text in english.items():
        assert placeholders(text) == placeholders(chinese[key]), key
        assert text.strip(), key
        assert chinese[key].strip(), key


def test_every_word_a_template_or_module_asks_for_exists() -> None:
    known = set(translator("en").messages)
    sources = [*API.glob("web/templates/*.html"), *API.glob("*.py"), *API.glob("web/**/*.py")]
    for path in sources:
        text = path.read_text(encoding="utf-8")
        for key in re.findall(r"\bt\(\s*[\"']([a-z_.]+[a-z_])[\"']\s*[,)]", text):
            assert key in known, f"{path.name}: {key}"
        for key in re.findall(r"\bt\.count\([\"']([a-z_.]+)[\"']", text):
            assert {f"{key}.one", f"{key}.other"} <= known, f"{path.name}: {key}"


def test_no_word_is_kept_that_nothing_asks_for() -> None:
    texts = "".join(p.read_text(encoding="utf-8") for p in API.rglob("*") if p.suffix in (".html", ".py"))
    scripts = "".join(p.read_text(encoding="utf-8") for p in API.rglob("*.js"))
    for key in translator("en").messages:
        stem = key.removesuffix(".one").removesuffix(".other")
        if key.startswith((*DYNAMIC, "reason.", "note.", "outcome.", "keys.")):
            continue
        if key.startswith("player."):
            assert f"words.{key.removeprefix('player.')}" in scripts or f"'{key}'" in texts, key
        else:
            family = stem.rpartition("_")[0] + "_" if "_" in stem else stem
            assert any(f"{q}{name}{q}" in texts for q in "'\"" for name in (stem, family)) or stem.startswith(
                ("about.claim_", "sign_in.", "nav.")
            ), key


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", sorted(VOCABULARY))
def test_every_entry_type_has_words(language: str, kind: str) -> None:
    """REC-07: every entry can be read by a person."""
    t = translator(language)
    fields = {name: ("sha256:" + "ab" * 32 if name == "clip" else 7) for name in VOCABULARY[kind]}
    entry = LogEntry(
        time_ms=0, prev={}, statement=Statement(type=kind, id="x", actor_id="p", actor_role="admin", fields=fields)
    )
    expunged = describe(entry, {}, t, lambda case: case)
    assert expunged
    assert kind not in expunged
    assert "{" not in expunged


def test_a_type_without_words_shows_as_itself() -> None:
    statement = Statement(type="future.thing", id="x", actor_id="p", actor_role="admin")
    entry = LogEntry(time_ms=0, prev={}, statement=statement)
    assert describe(entry, {}, translator("en"), str) == "future.thing"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_error_has_a_title_and_a_remedy(language: str) -> None:
    t = translator(language)
    kinds = [kind for module in (vault.errors, refusals) for kind in vars(module).values() if isinstance(kind, type)]
    bases = {LiuhenError, VaultError, refusals.PageError, refusals.ApiError}
    before_serving = (vault.errors.VaultMissingError, vault.errors.VaultExistsError, vault.errors.VaultBusyError)
    for kind in kinds:
        if issubclass(kind, LiuhenError) and kind not in bases and kind not in before_serving:
            names = [base.__name__ for base in kind.__mro__ if issubclass(base, LiuhenError) and base not in bases]
            assert any(f"error.{name}.title" in t.messages for name in names), kind.__name__
            assert any(f"error.{name}.remedy" in t.messages for name in names), kind.__name__


@pytest.mark.parametrize(
    ("cookie", "header", "language"),
    [
        (None, "", "zh-CN"),
        (None, "en-US,en;q=0.9", "en"),
        (None, "fr,en;q=0.5,zh;q=0.9", "zh-CN"),
        (None, "de", "zh-CN"),
        (None, "en;q=0,zh-TW", "zh-CN"),
        (None, "en;q=bogus,zh;q=0.1", "zh-CN"),
        ("en", "zh-CN", "en"),
        ("tlh", "en", "en"),
    ],
)
def test_language_is_chosen_by_cookie_then_browser(cookie: str | None, header: str, language: str) -> None:
    assert choose(cookie, header) == language


def test_a_purpose_is_stored_in_the_agencys_words_and_read_in_ones_own() -> None:
    stored = chosen("routine", "ignored")
    assert stored == PURPOSES["routine"] == "日常复核"
    assert in_words(stored, translator("en")) == "Routine review"
    assert kind_of("检察院调卷") == "other"
    assert chosen("other", "  检察院\n调卷 ") == "检察院 调卷"
    for kind, words in (("other", "  "), ("nonsense", "x")):
        with pytest.raises(refusals.FormError):
            chosen(kind, words)


def test_every_reason_of_a_playback_plan_has_words() -> None:
    for language in LANGUAGES:
        assert {f"reason.{key}" for key in MESSAGES} <= set(translator(language).messages)

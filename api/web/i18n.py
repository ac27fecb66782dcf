"""The words of the pages in each language: TOML catalogues, a translator, and the choice of a language.

Both catalogues hold the same keys with the same placeholders (tests/test_web_words.py), so a missing word is found
before anyone reads it. The command line has words of its own; the languages are the same.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Language = Literal["zh-CN", "en"]
LANGUAGES: tuple[Language, ...] = ("zh-CN", "en")
DEFAULT: Language = "zh-CN"
COOKIE = "liuhen_language"
_DIRECTORY = Path(__file__).parent / "words"


@dataclass(frozen=True, slots=True)
class Translator:
    """Looks up words of one language: `t("clips.title")`, `t("clips.range", total=3)`."""

    language: Language
    messages: Mapping[str, str]

    def __call__(self, key: str, /, **values: object) -> str:
        """Return the words for `key`; an unknown key is our own bug and raises KeyError."""
        text = self.messages[key]
        return text.format_map(values) if values else text

    def count(self, key: str, count: int, /, **values: object) -> str:
        """Return the words for a number of things: `key.one` for exactly one, else `key.other`."""
        return self(f"{key}.{'one' if count == 1 else 'other'}", count=f"{count:,}", **values)

    def known(self, key: str, fallback: str) -> str:
        """Return the words for a key made from data, or the data itself where we have no words for it."""
        return self.messages.get(key, fallback)

    def group(self, prefix: str) -> dict[str, str]:
        """Return all words below a prefix, for the scripts of a page."""
        start = prefix + "."
        return {key.removeprefix(start): text for key, text in self.messages.items() if key.startswith(start)}


@cache
def translator(language: Language) -> Translator:
    """Return the translator of a language, read once."""
    document = tomllib.loads((_DIRECTORY / f"{language}.toml").read_text(encoding="utf-8"))
    return Translator(language, _flatten(document))


def choose(cookie: str | None, accept_language: str) -> Language:
    """Choose the language: what the person chose before, else what the browser prefers, else Chinese."""
    for language in LANGUAGES:
        if cookie == language:
            return language
    for tag in _by_preference(accept_language):
        if tag.startswith("zh"):
            return "zh-CN"
        if tag.startswith("en"):
            return "en"
    return DEFAULT


def _by_preference(accept_language: str) -> list[str]:
    """Return the tags of an Accept-Language header, the most wanted first; malformed weights count as 0."""
    weighted: list[tuple[float, str]] = []
    for part in accept_language.lower().split(",")[:20]:
        tag, _, weight = part.strip().partition(";q=")
        try:
            weighted.append((float(weight) if weight else 1.0, tag))
        except ValueError:
            weighted.append((0.0, tag))
    return [tag for weight, tag in sorted(weighted, key=lambda item: -item[0]) if weight > 0]


def _flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= _flatten(value, f"{name}.")
        else:
            flat[name] = str(value)
    return flat

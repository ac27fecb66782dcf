"""Why somebody looks: the usual purposes, and how they are stored and shown. Pure.

The log holds the agency's own Chinese words, whatever language the page had; a purpose in words of the person's own is
kept as it was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.web.refusals import FormError

if TYPE_CHECKING:
    from api.web.i18n import Translator

PURPOSES = {
    "routine": "日常复核",
    "case": "案件办理",
    "inspection": "质量抽查",
    "complaint": "投诉核查",
}
OTHER = "other"
WORDS_MAX = 200


def in_words(stored: str, t: Translator) -> str:
    """Return a stored purpose in the reader's language, where it is one of the usual ones."""
    return t(f"purpose.{kind}") if (kind := kind_of(stored)) != OTHER else stored


def kind_of(stored: str) -> str:
    """Return which of the usual purposes this is, or `other`."""
    return next((kind for kind, words in PURPOSES.items() if words == stored), OTHER)


def chosen(kind: str, words: str) -> str:
    """Return what to store for a choice; raises FormError when there is no purpose in it."""
    if kind in PURPOSES:
        return PURPOSES[kind]
    words = " ".join(words.split())[:WORDS_MAX]
    if kind != OTHER or not words:
        raise FormError("purpose: say in words why you look")
    return words

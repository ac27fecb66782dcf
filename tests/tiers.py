"""How far the tests go: by default a sample that is quick and the same everywhere; with LIUHEN_TEST_FULL=1 everything."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, TypeVar

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

Place = TypeVar("Place")

FULL = os.environ.get("LIUHEN_TEST_FULL", "") not in {"", "0"}  # read once: no test sees variables of ours


def sampled(places: Sequence[Place], count: int) -> Sequence[Place]:
    """Take `count` of the places, others with each --randomly-seed (pytest prints it); all of them when FULL."""
    if FULL or len(places) <= count:
        return places
    return random.sample(places, count)


def judge_examples_by_their_outcome() -> None:
    """Let no Hypothesis test fail for the time it took; and let it find news only where somebody asked for that."""
    same = {} if FULL else {"derandomize": True, "database": None}  # a read-only checkout can remember nothing
    settings.register_profile(
        "gate", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], **same
    )
    settings.load_profile("gate")

import json
import subprocess
import sys

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from hardware.errors import SandboxCrashedError, SandboxTaskError
from ingest.probing.probe import FACTS_BYTES_MAX, Facts, Prober, parse_facts
from ingest.testing import LIES, HostileProber


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "copy"
    path.write_bytes(b"x")
    return path


def _describe(file, *names, deadline_s=60.0):
    with HostileProber(workers=1, memory_bytes=512 << 20, deadline_s=deadline_s) as prober:
        return prober.describe_many([(file, name) for name in names])


@pytest.mark.parametrize(
    ("act", "probe"),
    [
        ("crash", "crashed: signal"),
        ("hoard", "crashed: memory"),
        ("fail", "failed: ValueError"),
        ("forget", "gave no answer"),
        *((lie, "crashed: protocol") for lie in LIES if lie not in {"chatter", "surrogate"}),
    ],
)
def test_a_file_that_takes_the_child_over_is_judged_by_structure_and_says_so(file, act, probe):
    before, hostile, after = _describe(file, "a.mp4", f"{act}.mp4", "b.mp4")
    assert hostile == Facts(media="video", condition="whole", reason="", facts={"container": "mp4", "probe": probe})
    assert before == after == Facts(media="video", condition="whole", reason="", facts={"container": "mp4"})


def test_a_file_that_stalls_the_child_is_given_up_at_the_deadline(file):
    stalled, after = _describe(file, "hang.mp4", "b.mp4", deadline_s=2.0)
    assert stalled.facts["probe"] == "timed out"
    assert "probe" not in after.facts


def test_a_file_that_kills_even_the_look_without_a_decoder_is_damaged(file):
    (facts,) = _describe(file, "crash.crash")
    assert (facts.media, facts.condition, facts.reason) == ("other", "damaged", "it cannot be examined")
    assert facts.facts == {"probe": "crashed: signal", "reason": "it cannot be examined"}


def test_facts_that_are_too_large_lose_their_least_part(file):
    (facts,) = _describe(file, "chatter.mp4")
    assert facts.facts == {"container": "mp4"}


def test_text_that_no_record_can_hold_is_mended(file):
    (facts,) = _describe(file, "surrogate.mp4")
    assert facts.facts == {"container": "mp4?"}


def test_what_is_no_fault_of_a_file_is_raised(file, tmp_path):
    with HostileProber(workers=1, memory_bytes=1 << 20) as prober, pytest.raises(SandboxCrashedError) as caught:
        prober.describe(file, "a.mp4")
    assert caught.value.reason == "start"
    with Prober(workers=1) as prober, pytest.raises((FileNotFoundError, SandboxTaskError)):
        prober.describe(tmp_path / "absent", "a.mp4")


def test_the_service_itself_loads_no_decoder():
    """No foreign parser is ever in the process that holds the keys."""
    script = "import sys, ingest.probing.probe; sys.exit(bool({'av', 'exifread', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-P", "-c", script], check=False).returncode == 0


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.characters(categories=["Cs"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries(
        {
            "media": st.sampled_from(["video", "film"]) | _JSON,
            "condition": st.sampled_from(["whole", "damaged"]) | _JSON,
            "reason": st.just("") | st.text(max_size=400) | _JSON,
            "facts": st.dictionaries(st.text(max_size=9), _JSON, max_size=4) | _JSON,
        }
    )
)
def test_whatever_a_child_says_ends_as_facts_a_record_can_hold_or_is_refused(message):
    try:
        facts = parse_facts(message)
    except ValueError:
        return
    assert (facts.condition == "damaged") == bool(message["reason"])
    assert len(json.dumps(facts.facts, ensure_ascii=False).encode()) <= FACTS_BYTES_MAX
    assert rfc8785.dumps({"facts": facts.facts, "reason": facts.reason})

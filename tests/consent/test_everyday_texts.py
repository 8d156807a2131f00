"""The everyday texts that were read by hand: none of them is a revocation, and none may be taken for one."""

from importlib.resources import files

import pytest

from consent.lexicon import LANGUAGE_WORDS, Heard
from consent.policy import Policy
from consent.replies import read_reply

LINES = files("consent").joinpath("vectors/everyday.txt").read_text("utf-8").splitlines()
TEXTS = [line for line in LINES if line and not line.startswith("# ")]


@pytest.mark.parametrize("languages", [("en",), tuple(LANGUAGE_WORDS)], ids=["english", "every language"])
def test_no_everyday_text_is_taken_for_an_answer(languages):
    words = Policy("acme", "acme", "Acme Bank", languages=languages).words()

    read = {text: read_reply(text, words) for text in TEXTS}

    assert len(read) >= 500
    assert {text: reading.word for text, reading in read.items() if reading.heard is not Heard.TEXT} == {}


def test_the_documented_rates_are_those_of_the_texts():
    words = Policy("acme", "acme", "Acme Bank", languages=tuple(LANGUAGE_WORDS)).words()
    flagged = sum(read_reply(text, words).possible_revocation for text in TEXTS)
    told = files("consent").joinpath("vectors/README.md").read_text("utf-8")

    assert f"{len(TEXTS)} texts, 0 read as a STOP, {flagged} flagged for a person" in told

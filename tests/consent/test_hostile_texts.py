"""No text, however it was made, makes the reader fail, or reads as two things at once."""

import unicodedata

import pytest

from consent.conversation import begin
from consent.engine import decide
from consent.lexicon import LANGUAGE_WORDS, Heard
from consent.messages import read_message
from consent.policy import Policy
from consent.replies import read_reply
from consent.values import Consent, Group, Mode
from tests.consent.hostile_texts import PATTERNS, decide_each, hostile_texts, long_text

POLICY = Policy("acme", "acme", "Acme Bank", mode=Mode.CONSENT, languages=tuple(LANGUAGE_WORDS))
NOON = 1_795_435_200_000_000


def message(text, count):
    asked = {"id": f"m{count}", "org": "acme", "channel": "sms", "sender": "contact", "line": "+14155550100",
             "contact": "+14045550123", "text": text}  # fmt: skip
    return read_message(asked, NOON + count * 1_000_000, POLICY)


def test_twenty_thousand_random_texts_are_each_decided_and_can_be_written_down():
    heard = {read_reply(told.text, POLICY.words()).heard for told in decide_each(hostile_texts(20_000))}

    assert heard == set(Heard)  # the texts reach every ending


def test_only_the_opt_in_word_itself_ever_opts_in():
    asked = decide(begin("c", "acme", None, "+14155550100", "+14045550123", Group.TEXT), message("Hi", 0), POLICY)
    words = {"yes", "oui", "si", "sim", "ja", "是"}
    opted_in = 0
    for count, text in enumerate(hostile_texts(20_000, seed=1)):
        told = message(text, count + 1)
        if decide(asked.conversation, told, POLICY).conversation.consent is Consent.OPTED_IN:
            opted_in += 1
            # A signature or an older text may stand beside it; the answer is a line of its own.
            assert words & {_letters(line) for line in told.text.splitlines()}
    assert opted_in > 10


def _letters(line):
    answer = line.partition("On Monday")[0]
    return "".join(c for c in unicodedata.normalize("NFKD", answer).casefold() if c.isalpha())


@pytest.mark.parametrize("pattern", PATTERNS, ids=ascii)
def test_a_text_of_100_kilobytes_with_a_stop_at_its_end_is_not_lost(pattern):
    reading = read_reply(long_text(pattern) + "\nSTOP", POLICY.words())

    assert reading.heard is Heard.STOP or reading.possible_revocation

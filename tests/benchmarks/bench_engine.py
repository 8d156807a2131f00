"""The engine alone, without a database: decisions a second, the worst text there is, a million that nobody sends."""

import time
from collections.abc import Iterator

from consent.conversation import Conversation, begin
from consent.engine import decide
from consent.lexicon import LANGUAGE_WORDS, Words
from consent.policy import Policy
from consent.replies import read_reply
from consent.values import Group, Message, Mode, Sender
from tests.benchmarks.bench_world import NOON, Result, Scale, Store, middle, undisturbed
from tests.consent.hostile_texts import KILOBYTES_100, PATTERNS, decide_each, hostile_texts, long_text

_POLICY = Policy("acme", "acme", "Acme Bank", mode=Mode.CONSENT)
#: Texts of two people who have agreed.
_ORDINARY = (
    "Your statement is ready, shall we meet?", "Thanks, see you on Monday at 5", "ok",
    "Could you send me the form again please?", "I have sent it to your office this morning",
    "Great, talk soon", "The branch opens at nine, bring an ID", "👍",
)  # fmt: skip
#: Replies that no early tier can decide: each is looked at by all of them.
_REPLIES = (
    "I will need to look into what you mentioned about the account at the end of the year",
    "Don't forget to send me the 1099 again", "what is the status of my cancelled order, did it stop?",
    "Yes, cancel the limit order", "Can I stop by tomorrow to sign?", "no more than two hundred please",
)  # fmt: skip
_SECOND = 1_000_000


def engine(_store: Store, scale: Scale) -> Iterator[Result]:
    """Decide texts of a conversation whose contact has agreed, replies that go through all tiers, and hostile ones."""
    agreed = _agreed()
    ordinary = [
        _message(text, Sender.EMPLOYEE if at % 2 else Sender.CONTACT, at)
        for at, text in enumerate(_ORDINARY * (scale.decisions // len(_ORDINARY)))
    ]
    rate = middle([_rate(agreed, ordinary) for _ in range(scale.rounds)])
    yield Result("engine alone", "ordinary texts", "", rate, "decisions/s", 100_000)
    replies = [
        _message(f"{text} {at}", Sender.CONTACT, at)  # no two alike
        for at, text in enumerate(_REPLIES * (scale.decisions // len(_REPLIES) // 3))
    ]
    rate = middle([_rate(agreed, replies) for _ in range(scale.rounds)])
    yield Result("engine alone", "replies through all tiers", "", rate, "decisions/s", 30_000)
    words = Policy("acme", "acme", "Acme Bank", languages=tuple(LANGUAGE_WORDS)).words()
    slowest = max(_seconds(long_text(pattern), words) for pattern in PATTERNS)
    yield Result(
        "reading a text", f"the slowest of {len(PATTERNS)} of {KILOBYTES_100 // 1000} kB", "", slowest * 1000, "ms",
        10, at_most=True,
    )  # fmt: skip
    started = time.process_time()
    decided = sum(1 for _ in decide_each(hostile_texts(scale.hostile_texts)))
    rate = decided / (time.process_time() - started)
    yield Result("engine alone", f"{decided:,} random texts in every mode, none fails", "", rate, "decisions/s")


def _agreed() -> Conversation:
    fresh = begin("c1", "acme", None, "+14155550100", "+14045550123", Group.TEXT)
    asked = decide(fresh, _message("Hi", Sender.EMPLOYEE, -120), _POLICY).conversation
    return decide(asked, _message("YES", Sender.CONTACT, -60), _POLICY).conversation


def _message(text: str, sender: Sender, at: int) -> Message:
    when = NOON + at * _SECOND
    return Message(
        f"m{at}", "acme", None, "sms", Group.TEXT, sender, "+14155550100", "+14045550123", text, when, when, "e1",
        "Ann Lee",
    )  # fmt: skip


def _rate(conversation: Conversation, messages: list[Message]) -> float:
    with undisturbed():
        started = time.process_time()
        for message in messages:
            decide(conversation, message, _POLICY)
        return len(messages) / (time.process_time() - started)


def _seconds(text: str, words: Words) -> float:
    times = []
    for _ in range(3):
        started = time.process_time()
        read_reply(text, words)
        times.append(time.process_time() - started)
    return min(times)

"""Strict for YES, liberal for STOP; in doubt there is no consent, and no content is lost."""

import json
import unicodedata
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import revocations
from consent.lexicon import DEFAULT_OPT_OUT, LANGUAGE_WORDS, NO_WORDS, START_WORDS, Heard, Words
from consent.normal import READ_AT_MOST, disguises, holds_floor_word, normalized, plain
from consent.replies import read_reply
from consent.revocations import FLOOR

ENGLISH = Words(("YES",))
VECTORS = [
    json.loads(line) for line in files("consent").joinpath("vectors", "replies.jsonl").read_text("utf-8").splitlines()
]

#: What people, broken telephones and attackers send: words of the rules in any order and dress.
PIECES = st.sampled_from(
    [
        *(
            "yes",
            "YES",
            "stop",
            "Stop",
            "STOP",
            "quit",
            "end",
            "opt out",
            "opt",
            "out",
            "all",
            "no",
            "thanks",
            "please",
        ),
        *("don't", "dont", "send", "text", "me", "any", "more", "texts", "remove", "from", "your", "list", "i want to"),
        *(
            " ",
            "  ",
            "\n",
            "\r\n",
            ". ",
            "!",
            "?",
            ", ",
            "-",
            "_",
            "'",
            "’",
            "“",
            "”",
            ">",
            "--\n",
            "Liked “",
            "wrote:",
        ),
        *("\u200b", "\u200d", "\ufe0f", "\u202e", "\u0301", "\u0316", "\x00", "\ud800", "\udfff", "🛑", "✋🏽", "👎"),
        *("ѕтор", "ΝO", "0", "1", "5", "S T O P", "ﷺ", "각", "是", "停止", "हाँ", "ı", "İ", "ß", "a.com/stop"),
    ]
)
ANY_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=80), st.lists(PIECES, max_size=14).map("".join)
)


def words_of(vector):
    return Words(
        *(tuple(vector.get(key, default)) for key, default in (("opt_in", ["YES"]), ("opt_out", []), ("help", [])))
    )


@pytest.mark.parametrize("vector", VECTORS, ids=[ascii(vector["text"])[1:60] for vector in VECTORS])
def test_a_text_is_read_as_the_published_vectors_say(vector):
    reading = read_reply(vector["text"], words_of(vector))

    assert (reading.heard, reading.tier) == (vector["heard"], vector["tier"])
    assert reading.word == vector.get("word", reading.word)
    assert reading.stop_all == vector.get("stop_all", False)
    assert reading.reaction == vector.get("reaction", False)
    assert reading.possible_revocation == (vector["tier"] == 9)


def test_the_vectors_show_every_tier_and_every_answer():
    assert {vector["tier"] for vector in VECTORS} == set(range(1, 11))
    assert {vector["heard"] for vector in VECTORS} == set(Heard)
    assert len(VECTORS) == len({json.dumps(vector, sort_keys=True) for vector in VECTORS})


@given(ANY_TEXT)
def test_no_text_breaks_the_reader_and_every_reading_agrees_with_itself(text):
    reading = read_reply(text, ENGLISH)

    assert reading == read_reply(text, ENGLISH)
    assert 1 <= reading.tier <= 10
    assert (reading.tier == 1) == (reading.heard is Heard.YES)
    assert (reading.tier >= 9) == (reading.heard is Heard.TEXT)
    assert reading.possible_revocation == (reading.tier == 9)
    assert not reading.stop_all or reading.heard is Heard.STOP
    assert reading.by in {"keyword", "phrase", "fuzzy", "emoji", ""}


@given(ANY_TEXT)
def test_only_the_opt_in_word_alone_is_a_yes(text):
    reading = read_reply(text, ENGLISH)

    if reading.heard is Heard.YES:
        assert reading.normalized == "yes"
        assert not set(text) & set("?👎❌🛑✋🚫⛔") or "\n" in text


@given(st.lists(PIECES, max_size=10).map("".join), st.integers(0, 200))
def test_characters_that_nobody_sees_change_no_reading(text, at):
    seen = read_reply(text, ENGLISH)

    # Between a letter and its mark there is something to see, so the unseen goes to a border of two plain ones.
    borders = [n for n in range(len(text) + 1) if not text[n : n + 1] or unicodedata.category(text[n])[0] != "M"]
    at = borders[at % len(borders)]

    assert read_reply(f"{text[:at]}\u2060{text[at:]}", ENGLISH) == seen


@given(st.lists(PIECES, max_size=10).map("".join))
def test_a_stop_on_a_line_of_its_own_is_never_lost(text):
    reading = read_reply(f"{text}\nSTOP", ENGLISH)

    assert reading.heard is Heard.STOP or reading.reaction or reading.possible_revocation


@pytest.mark.parametrize("language", sorted(LANGUAGE_WORDS))
@pytest.mark.parametrize("word", [*FLOOR, *DEFAULT_OPT_OUT])
def test_the_floor_works_in_every_language(language, word):
    opt_in, opt_out = LANGUAGE_WORDS[language]

    assert read_reply(word.upper(), Words(opt_in, opt_out)).heard is Heard.STOP


@pytest.mark.parametrize("language", sorted(LANGUAGE_WORDS))
def test_each_language_is_answered_in_its_own_words(language):
    opt_in, opt_out = LANGUAGE_WORDS[language]

    assert {read_reply(word, Words(opt_in, opt_out)).heard for word in opt_in} == {Heard.YES}
    assert {read_reply(word, Words(opt_in, opt_out)).heard for word in opt_out} == {Heard.STOP}


def test_words_that_opt_in_and_out_are_disjoint_as_compared():
    opt_in = {normalized(word) for words, _ in LANGUAGE_WORDS.values() for word in words}
    opt_out = {normalized(word) for _, words in LANGUAGE_WORDS.values() for word in words}
    opt_out |= {normalized(word) for word in (*FLOOR, *DEFAULT_OPT_OUT)}

    assert opt_in.isdisjoint(opt_out)
    assert opt_in.isdisjoint({normalized(word) for word in (*NO_WORDS, *START_WORDS)})


@pytest.mark.parametrize(
    ("word", "form"),
    [
        ("STOP", "stop"),
        (" Arrêt! ", "arret"),
        ("SÍ", "si"),
        ("opt-out", "opt out"),
        ("don't", "dont"),
        ("don’t", "dont"),
        ("ＹＥＳ", "yes"),
        ("KAYIT", "kayit"),
        ("kayıt", "kayit"),
        ("退订。", "退订"),
        ("Straße", "strasse"),
        ("👍", ""),
        ("", ""),
    ],
)
def test_keywords_are_compared_without_case_marks_and_dress(word, form):
    assert normalized(word) == form


@given(ANY_TEXT)
def test_a_normalized_word_is_its_own_form(word):
    assert normalized(normalized(word)) == normalized(word)


def test_a_custom_word_that_is_a_filler_elsewhere_counts_as_what_it_was_made():
    assert read_reply("thanks", Words(("YES",), ("thanks",))).heard is Heard.STOP
    assert read_reply("OK", Words(("OK",))).heard is Heard.YES
    assert read_reply("OK stop", Words(("OK",))) == (Heard.STOP, 7, "stop", "phrase", False, False, "ok stop", False)


def test_a_word_that_opts_in_and_out_opts_out():
    assert read_reply("stop", Words(("STOP",))).heard is Heard.STOP


def test_every_word_kept_from_the_slips_would_be_one():
    for word in revocations._near_words():
        assert word in revocations._SLIPS or revocations._single(word) in revocations._SINGLED
        assert read_reply(word, ENGLISH).heard is Heard.TEXT


def test_every_swap_of_two_letters_in_a_long_floor_word_is_understood():
    for word in ("stop", "revoke", "cancel", "unsubscribe"):
        for at in range(1, len(word)):
            swapped = f"{word[: at - 1]}{word[at]}{word[at - 1]}{word[at + 1 :]}"
            assert read_reply(swapped, ENGLISH).word == word


@pytest.mark.parametrize("before", [0, 4090, 4096, 4100, 20_000])
@pytest.mark.parametrize("letter", ["a", "я", "각", "é"])
def test_a_floor_word_anywhere_in_a_long_text_is_seen(before, letter):
    text = f"{letter * before} stop {letter * 30_000}"

    assert read_reply(text, ENGLISH).tier == 9


def test_a_long_text_is_no_yes_however_it_begins_and_ends():
    assert read_reply(f"YES{'.' * READ_AT_MOST}", ENGLISH).heard is Heard.TEXT
    assert read_reply(f"YES{' ' * READ_AT_MOST}", ENGLISH).heard is Heard.YES


def test_a_signature_that_holds_an_opt_out_is_read_as_part_of_the_text():
    assert read_reply("Thanks\n--\nSTOP", ENGLISH).heard is Heard.STOP
    assert read_reply("YES\n--\nSTOP", ENGLISH).heard is Heard.STOP


def test_equal_texts_in_other_dress_are_told_as_equal():
    dressed = ["I am driving now.", "i am DRIVING now", "“I am driving now!”", "I\u200b am  driving\u00a0now\n"]

    assert {read_reply(text, ENGLISH).normalized for text in dressed} == {"i am driving now"}


HOSTILE = {
    "one long word": "a" * 100_000,
    "blanks": "a" + " " * 100_000 + "b",
    "line ends": "a\n" * 50_000,
    "dots": "." * 100_000,
    "spaced letters": "s t o " * 16_000,
    "stacked marks": "a" + "\u0301\u0316" * 25_000,
    "long ligatures": "ﷺ" * 33_000,
    "syllables that come apart": "각" * 33_000,
    "lookalikes and digits": "а0 " * 25_000,
    "digits in words": "a0 " * 33_000,
    "openings of phrases": "dont " * 20_000,
    "fillers": "please i want to " * 6_000,
    "all but a phrase": "stop sending all these " * 4_000 + "x",
    "revocations with a tail": "x dont text me these texts to me. " * 3_000,
    "quote marks": ">\n" * 50_000,
    "openings of quotes": "x\n" + "on " * 33_000,
    "signature dashes": "x\n--\n" * 20_000,
    "signature lines": "x\nsent from " * 9_000,
    "reactions": "liked “" * 14_000,
    "addresses": "a.com/" * 16_000,
    "lone surrogates": "\ud800" * 33_000,
    "nothing to see": "\u200b" * 33_000,
    "skin": "🏽" * 25_000,
    "answers": "yes " * 25_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_chat(text):
    for part in (text, text[: READ_AT_MOST - 1]):
        assert read_reply(part, ENGLISH).heard is Heard.TEXT


TYPED = st.sampled_from([word for vector in VECTORS if vector["text"].isascii() for word in vector["text"].split()])


@settings(max_examples=1000)
@given(st.lists(TYPED, max_size=8), st.sampled_from([" ", " ", ". ", "? ", "-"]))
def test_what_is_told_by_its_words_alone_is_what_the_whole_reading_says(words, between):
    text = between.join(words)

    # A letter that shows nothing has the text taken apart in full.
    assert read_reply(f"{text}\u200b", ENGLISH) == read_reply(text, ENGLISH)


def test_a_disguise_is_looked_through_for_an_opt_out_only():
    assert "stop" in disguises(plain("5ТОР"), ["5тор"])
    assert read_reply("YЕS", ENGLISH).heard is Heard.TEXT
    assert holds_floor_word("s\u0336t\u0336o\u0336p\u0336")


@given(st.from_regex(revocations.REVOCATION, fullmatch=True))
def test_a_revocation_is_never_passed_over_by_the_quick_look(sentence):
    words = sentence.split(" ")

    found = revocations.is_revocation(words)

    assert found is not None or len(words) > revocations.SENTENCE_WORDS
    assert found is None or revocations.holds_revocation(words) is not None

"""What may stand in an organization's own texts and words."""

import pytest

from consent.ledger import newest_head, read_lane
from consent.organizations import (
    ForbiddenError,
    SettingError,
    create_organization,
    read_policies,
    set_mode,
    set_setting,
)
from consent.segments import segments
from consent.values import Mode
from consent.wording import set_keyword, set_template
from sync.intake import Intake
from tests.sync.sync_world import text

SHOWN = "Reply <Opt-in Text> or <Opt-out Text>, <Employee Name>"


@pytest.fixture
def acme(database):
    with database.write() as tx:
        create_organization(tx, "acme", "Acme Bank", parent=None, actor="a", now=1)
        create_organization(tx, "acme-east", "East", parent="acme", actor="a", now=1)
        set_mode(tx, "acme", Mode.CONSENT, actor="a", now=1)
    return database


def put(database, key, text, *, org="acme", language=None):
    with database.write() as tx:
        return set_template(tx, org, key, text, language, actor="a", now=2)


def say(database, use, word, *, language=None, org="acme"):
    with database.write() as tx:
        set_keyword(tx, org, use, word, language, actor="a", now=2)


def first_text(database, name, org="acme"):
    intake = Intake(database)
    answer = intake.take([{
        "id": name, "org": org, "channel": "sms", "sender": "employee", "line": "+14155550100", "text": "Hi",
        "employee": {"id": "e1", "name": "Ann Lee"}, "contact": f"+1404555{name[-4:]}",
    }])[0]  # fmt: skip
    intake.close()
    return answer["auto_messages"][0]["text"]


def test_a_changed_text_is_sent_from_the_next_message_on_and_its_default_comes_back(acme):
    intake = Intake(acme)

    assert put(acme, "mo.request.contact", SHOWN) == 1
    changed = first_text(acme, "SM0101")
    assert put(acme, "mo.request.contact", None) == 2
    restored = first_text(acme, "SM0102")
    intake.close()

    assert changed == "Reply YES or STOP, Ann Lee"
    assert restored.startswith("[Auto Message] Ann Lee is trying to reach you.")


def test_every_change_is_an_entry_with_its_actor_before_and_after(acme):
    put(acme, "help.contact", "We are here.")
    say(acme, "opt_out", "HALT")

    with acme.read() as tx:
        size = newest_head(tx, "acme").lanes["audit"]
        text, word = (entry.facts() for entry in read_lane(tx, "acme", "audit", size - 2, 2))
    assert (text["template"], text["before"], text["after"], text["actor"]) == (
        "help.contact",
        None,
        "We are here.",
        "a",
    )
    assert (word["use"], word["before"], word["after"], word["actor"]) == ("opt_out", None, ["HALT"], "a")


@pytest.mark.parametrize(
    ("key", "text", "named"),
    [
        ("help.contact", "Call <Phone>", "<Phone>"),
        ("help.contact", "Because <Reason>", "<Reason>"),
        ("mo.request.contact", "Say YES", "opt-out"),
        ("mt.request.contact", "Text STOP to end", "opt-in"),
        ("mo.accepted.contact", "Thanks! Visit acme.com", "acme.com"),
        ("mt.rejected.contact", "Bye. 20 % off if you come back", "20 % off"),
    ],
)
def test_a_text_that_a_rule_forbids_is_refused_with_the_offending_words(acme, key, text, named):
    with pytest.raises(ForbiddenError, match=named):
        put(acme, key, text)


@pytest.mark.parametrize(("key", "text"), [("mo.nothing", "Hi"), ("help.contact", "  "), ("help.contact", "x" * 2_000)])
def test_a_text_that_is_none_is_refused(acme, key, text):
    with pytest.raises(SettingError):
        put(acme, key, text)


@pytest.mark.parametrize(
    ("use", "word"),
    [
        ("opt_in", "Stop"),
        ("opt_in", "S T O P"),
        ("opt_in", "help"),
        ("opt_out", "yes"),
        ("help", "QUIT"),
        ("help", "no"),
    ],
)
def test_no_word_stands_for_two_things(acme, use, word):
    if word == "S T O P":
        say(acme, use, word)  # three blanks make another word; STOP itself still stops
        return
    with pytest.raises(ForbiddenError, match="already stands for"):
        say(acme, use, word)


def test_a_changed_word_shows_in_the_default_texts_by_itself(acme):
    say(acme, "opt_in", "AGREE")
    say(acme, "opt_out", "HALT")

    assert first_text(acme, "SM0103").endswith("To Opt in, reply AGREE. To opt out, reply HALT.")


def test_a_word_that_a_text_of_the_organizations_own_shows_cannot_be_changed_under_it(acme):
    put(acme, "mo.request.contact", "Answer YES or STOP")

    with pytest.raises(ForbiddenError, match=r"mo\.request\.contact"):
        say(acme, "opt_in", "AGREE")


def test_texts_and_words_are_per_language_and_a_sub_organization_has_its_own(acme):
    with acme.write() as tx:
        set_setting(tx, "acme", "languages", "en,es", actor="a", now=2)
    put(acme, "help.contact", "Aquí estamos.", language="es")
    put(acme, "help.contact", "East here.", org="acme-east")
    with pytest.raises(SettingError, match="languages"):
        put(acme, "help.contact", "Ici", language="fr")

    with acme.read() as tx:
        policies = read_policies(tx, "acme")
    assert policies["acme"].template("help.contact", "es").text == "Aquí estamos."
    assert policies["acme-east"].template("help.contact", "es").text == "Aquí estamos."
    assert policies["acme-east"].template("help.contact", "en").text == "East here."
    assert policies["acme"].template("help.contact", "en").version == 0


@pytest.mark.parametrize(
    ("asked", "reply", "state"),
    [
        ("Répondez <Opt-in Text> ou <Opt-out Text>.", "oui", "opted_in"),
        ("Répondez <Opt-in Text> ou <Opt-out Text>.", "yes", "pending"),  # that isn't what it said
        ("Répondez <Opt-in Text> ou <Opt-out Text>.", "alto", "opted_out"),  # every language's word opts out
        ("Répondez YES ou STOP.", "yes", "opted_in"),
        (None, "yes", "opted_in"),  # the default is English, and shows YES
        (None, "oui", "pending"),
    ],
)
def test_a_request_is_answered_in_its_own_language_and_stopped_in_any(acme, asked, reply, state):
    with acme.write() as tx:
        set_setting(tx, "acme", "languages", "en,fr,es", actor="a", now=2)
    if asked is not None:
        put(acme, "mo.request.contact", asked, language="fr")
    intake = Intake(acme)

    request, answer = intake.take([
        text("Bonjour", sender="employee", language="fr-CA"), text(reply, at=70)
    ])  # fmt: skip

    intake.close()
    assert (reply in request["auto_messages"][0]["text"].lower()) == (state == "opted_in")
    assert answer["state"] == state


def test_a_language_or_a_word_that_would_stand_for_two_things_below_is_refused(acme):
    say(acme, "opt_in", "Alto", org="acme-east")

    with acme.write() as tx, pytest.raises(ForbiddenError, match=r"Alto already stands for opt_out .* at acme-east"):
        set_setting(tx, "acme", "languages", "en,es", actor="a", now=2)
    with pytest.raises(ForbiddenError, match="at acme-east"):
        say(acme, "opt_out", "alto")


def test_a_word_that_a_sub_organizations_text_shows_cannot_be_changed_above_it(acme):
    put(acme, "mt.request.contact", "Answer YES or STOP", org="acme-east")

    with pytest.raises(ForbiddenError, match=r"mt\.request\.contact of acme-east"):
        say(acme, "opt_in", "AGREE")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" * 160, ("GSM-7", 160, 1)),
        ("a" * 161, ("GSM-7", 161, 2)),
        ("€" * 80, ("GSM-7", 160, 1)),
        ("a" * 152 + "€" + "a" * 20, ("GSM-7", 174, 2)),
        ("ж" * 70, ("UCS-2", 70, 1)),
        ("ж" * 71, ("UCS-2", 71, 2)),
        ("ж" * 66 + "🙂" + "ж" * 10, ("UCS-2", 78, 2)),
    ],
)
def test_segments_are_counted_as_a_phone_does(text, expected):
    assert tuple(segments(text)) == expected

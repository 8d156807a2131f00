"""Intake: whoever is answered is in the ledger, once; whoever is not may ask again."""

import asyncio
import gc
import threading
from collections import Counter

import pytest

from consent.canonical import timestamp
from consent.organizations import create_organization, set_mode
from consent.values import Mode
from sync.intake import BusyError, Intake
from tests.ledger.auditing import assert_whole
from tests.sync.sync_world import NOON, SECOND, entries, found, logged, text


def receive_all(intake, messages, callers=64):
    """Let asynchronous callers send these messages, each caller one after the other; answers in order."""
    answers = [None] * len(messages)

    async def call(places):
        for at in places:
            answers[at] = await intake.receive(messages[at])

    async def all_of_them():
        await asyncio.gather(*[call(range(caller, len(messages), callers)) for caller in range(callers)])

    asyncio.run(all_of_them())
    return answers


def error_of(answer):
    return answer.get("error", {}).get("code")


def message_ids(database, organization="acme"):
    return [entry.revealed()["message_id"] for entry in entries(database, organization) if entry.kind == "message"]


def requests(database, organization="acme"):
    """Count the requests that reached a contact, by conversation."""
    return Counter(
        entry.conversation for entry in entries(database, organization)
        if entry.kind == "auto_message" and entry.facts()["template"].endswith("request.contact")
    )  # fmt: skip


def test_64_callers_are_each_answered_with_what_stands_in_the_ledger(acme, intake):
    messages = [text("Hi", contact=at % 90, line=at % 3, at=at) for at in range(320)]

    answers = receive_all(intake, messages)

    assert [answer["id"] for answer in answers] == [message["id"] for message in messages]
    written = {entry.id: entry for entry in assert_whole(acme, "acme")}
    for message, answer in zip(messages, answers, strict=True):
        told = [written[one] for one in answer["entries"]]
        assert told[0].revealed()["message_id"] == message["id"]
        assert told[0].facts()["verdict"] == answer["verdict"]
        assert [(one.id, one.revealed()["text"]) for one in told if one.kind == "auto_message"] == [
            (auto["entry"], auto["text"]) for auto in answer["auto_messages"]
        ]
    assert sorted(message_ids(acme)) == sorted(message["id"] for message in messages)


def test_callers_share_commits(acme, intake):
    receive_all(intake, [text("Hi", contact=at) for at in range(640)])

    with acme.read() as tx:
        heads = tx.exec_driver_sql("SELECT count(*) FROM head WHERE organization = 'acme'").scalar_one()
    assert heads < 320


def test_nothing_that_was_met_waits_for_the_garbage_collector(acme, intake):
    """Its coming would make whoever is waited for at that moment late by tens of milliseconds."""
    intake.take([text("Hi", contact=at) for at in range(8)])
    gc.collect()
    gc.disable()
    try:
        for group in range(4):
            intake.take([text("Hi", contact=100 * group + at) for at in range(64)])
        assert gc.collect() < 64
    finally:
        gc.enable()


def test_two_callers_that_take_turns_are_never_forgotten(acme, intake):
    messages = [text("Hi", contact=at % 5, at=at) for at in range(300)]

    answers = receive_all(intake, messages, callers=2)

    assert {error_of(answer) for answer in answers} == {None}
    assert len(message_ids(acme)) == 300


def test_an_answer_comes_after_its_commit(acme, intake, database_url, open_databases):
    other = open_databases(database_url)

    async def ask():
        answer = await intake.receive(text())
        return {entry.id for entry in entries(other, "acme")}, answer

    written, answer = asyncio.run(ask())

    assert set(answer["entries"]) <= written


def test_a_caller_that_goes_away_leaves_its_text_in_the_ledger_and_the_others_answered(acme, intake):
    async def ask():
        gone = asyncio.ensure_future(intake.receive(text("Hi", contact=1)))
        others = [asyncio.ensure_future(intake.receive(text("Hi", contact=at))) for at in range(2, 9)]
        await asyncio.sleep(0)
        gone.cancel()
        return await asyncio.gather(*others)

    answers = asyncio.run(ask())
    intake.close()

    assert {error_of(answer) for answer in answers} == {None}
    assert len(message_ids(acme)) == 8


def test_a_closed_intake_takes_nothing_more(acme, intake):
    intake.close()

    with pytest.raises(BusyError):
        asyncio.run(intake.receive(text()))
    assert message_ids(acme) == []


# --- repeats ------------------------------------------------------------------------------------------------------


def test_a_repeated_text_is_answered_with_the_first_answer_and_writes_nothing(acme, intake, database_url):
    messages = [
        text("Hi", sender="employee"), text("Hello?"), text("Are you there?", at=1), text("YES", at=60),
        text("stop all", contact=1), text("STOP", at=61), text("STOP", at=62),
    ]  # fmt: skip
    first = intake.take(messages)
    before = entries(acme, "acme")

    in_this_process = intake.take(messages)
    in_another = Intake(acme).take(list(reversed(messages)))

    assert in_this_process == first
    assert list(reversed(in_another)) == first
    assert entries(acme, "acme") == before


def test_a_repeat_within_one_group_is_answered_alike(acme, intake):
    one = text("Hi")

    answers = intake.take([one, dict(one), text("YES", at=9), dict(one)])

    assert answers[0] == answers[1] == answers[3]
    assert len(message_ids(acme)) == 2


def test_a_repeat_that_names_released_texts_names_them_again(acme, intake):
    held = [text("Hello?"), text("Anyone?", at=1)]
    intake.take(held)
    yes = text("YES", at=60)

    first = intake.take([yes])[0]
    again = Intake(acme).take([yes])[0]

    assert first["released"] == [one["id"] for one in held]
    assert again == first


def test_the_same_text_in_another_spelling_is_the_same(acme, intake):
    first = text("Hi", at=0) | {"contact": "+14045550123", "line": "+14155550100"}
    again = dict(reversed(first.items())) | {
        "contact": "(404) 555-0123", "line": "1 415 555 0100", "sent_at": "2026-11-23T07:00:00-05:00",
    }  # fmt: skip

    answers = intake.take([first, again])

    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "change", [{"text": "STOP"}, {"contact": "+14045550999"}, {"sent_at": timestamp(NOON + SECOND)}, {"channel": "rcs"}]
)
def test_the_same_id_with_another_content_is_a_conflict_and_writes_nothing(acme, intake, change):
    one = text("Hi")
    intake.take([one])
    before = entries(acme, "acme")

    [answer] = intake.take([one | change])

    assert (answer["id"], error_of(answer)) == (one["id"], "id_conflict")
    assert entries(acme, "acme") == before


def test_organizations_do_not_see_each_others_ids(acme, intake):
    found(acme, "globex")
    one = text("Hi")

    answers = intake.take([one, one | {"org": "globex", "text": "STOP"}])

    assert [error_of(answer) for answer in answers] == [None, None]


def test_many_processes_sending_the_same_texts_write_each_once(acme, database_url, open_databases):
    messages = [text("Hi", contact=at) for at in range(60)]
    answers = {}

    def send(name):
        intake = Intake(open_databases(database_url))
        answers[name] = intake.take(messages[:30]) + intake.take(messages[30:])

    run_threads(*[lambda name=name: send(name) for name in range(4)])

    assert answers[0] == answers[1] == answers[2] == answers[3]
    assert sorted(message_ids(acme)) == sorted(message["id"] for message in messages)
    assert_whole(acme, "acme")


# --- both sides at once -------------------------------------------------------------------------------------------


def test_both_sides_first_texts_at_once_send_exactly_one_request_in_100_of_100_trials(
    acme, database_url, open_databases
):
    together = threading.Barrier(2)

    def send(sender):
        intake = Intake(open_databases(database_url))
        intake.take([text("warm up", contact=999, sender=sender)])
        for at in range(100):
            message = text("Hi", sender=sender, contact=at)
            together.wait()
            assert error_of(intake.take([message])[0]) is None

    run_threads(lambda: send("employee"), lambda: send("contact"))

    assert set(requests(acme).values()) == {1}
    assert len(requests(acme)) == 101
    assert_whole(acme, "acme")


def test_both_sides_first_texts_in_one_group_send_exactly_one_request(acme, intake):
    pairs = [text("Hi", sender=sender, contact=at) for at in range(64) for sender in ("contact", "employee")]

    receive_all(intake, pairs, callers=128)

    assert Counter(requests(acme).values()) == {1: 64}


# --- one bad text among many --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"contact": "12"}, "invalid_number"),
        ({"contact": "not a number at all"}, "invalid_number"),
        ({"contact": None}, "invalid_number"),
        ({"text": 5}, "invalid_message"),
        ({"sender": ["contact"]}, "invalid_message"),
        ({"channel": {}}, "invalid_message"),
        ({"sent_at": "yesterday"}, "invalid_message"),
        ({"sent_at": "2026-11-23T10:00:00"}, "invalid_message"),
        ({"org": "nowhere"}, "unknown_organization"),
        ({"org": None}, "invalid_message"),
        ({"id": "x" * 600}, "invalid_message"),
        ({"id": "half a pair \ud83d"}, "invalid_message"),
        ({"org": "half a pair \ud83d"}, "invalid_message"),
        ({"text": "STOP \ud83d"}, None),
        ({"text": "\x00"}, None),
        ({"employee": {"id": "nul \x00", "name": "nul \x00"}}, None),
        ({"provider": {"a": float("nan"), "b": 2**70, "ü": "ü"}}, None),
        ({"media": [{"name": "half a pair \ud83d"}]}, None),
    ],
)  # fmt: skip
def test_one_bad_text_is_answered_in_its_place_and_the_others_are_taken(acme, intake, bad, code):
    messages = [text("Hi", contact=at) for at in range(6)]
    messages[3] |= bad

    answers = intake.take(messages)

    assert [error_of(answer) for answer in answers] == [None, None, None, code, None, None]
    assert len(assert_whole(acme, "acme")) > 10


@pytest.mark.parametrize("bad", [None, 5, "text", [], {}, {"id": "a"}, {"id": 5, "org": "acme"}])
def test_what_is_no_message_at_all_is_answered_in_its_place(acme, intake, bad):
    answers = intake.take([text(), bad, text(contact=1)])

    assert [error_of(answer) for answer in answers] == [None, "invalid_message", None]


def test_a_provider_object_nested_beyond_all_bounds_spoils_only_its_own_text(acme, intake):
    deep = {}
    for _ in range(800):
        deep = {"a": deep}
    messages = [text("Hi", contact=at) for at in range(5)]
    messages[2]["provider"] = deep

    with logged():
        answers = intake.take(messages)

    assert [error_of(answer) for answer in answers] == [None, None, "invalid_message", None, None]
    assert len(message_ids(acme)) == 4


@pytest.mark.parametrize("at", [0, 7, 30])
def test_a_text_that_the_database_refuses_is_found_by_halving(acme, intake, at):
    refuse_text(acme, "poison")
    messages = [text("Hi", contact=one) for one in range(31)]
    messages[at]["text"] = "poison"

    with logged() as events:
        answers = intake.take(messages)

    assert [error_of(answer) for answer in answers] == ["invalid_message" if one == at else None for one in range(31)]
    assert "poison" not in str(answers[at]) + str(events)
    assert message_ids(acme) == [message["id"] for one, message in enumerate(messages) if one != at]
    assert_whole(acme, "acme")


def refuse_text(database, word):
    """Let the database refuse entries whose values hold a word, as it would refuse what it can't store."""
    hexed = word.encode().hex()
    with database.write() as tx:
        if database.is_postgres:
            tx.exec_driver_sql(
                "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN"
                " RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation'; END $$ LANGUAGE plpgsql"
            )
            tx.exec_driver_sql(
                "CREATE TRIGGER refuse BEFORE INSERT ON entry FOR EACH ROW"
                f" WHEN (position('\\x{hexed}'::bytea in NEW.personal) > 0) EXECUTE FUNCTION refuse()"
            )
        else:
            tx.exec_driver_sql(
                f"CREATE TRIGGER refuse BEFORE INSERT ON entry WHEN instr(NEW.personal, X'{hexed}') > 0"
                " BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )


def test_a_change_of_settings_rules_the_next_text_in_every_process(acme, intake, database_url, open_databases):
    other = open_databases(database_url)
    assert intake.take([text("Hi", contact=0)])[0]["verdict"] == "held"

    with other.write() as tx:
        set_mode(tx, "acme", Mode.OFF, actor="test", now=NOON)
        create_organization(tx, "acme-east", "East", parent="acme", actor="test", now=NOON)
    answers = intake.take([text("Hi", contact=1), text("Hi", contact=2, org="acme-east")])

    assert [answer["verdict"] for answer in answers] == ["delivered", "delivered"]


def test_a_commit_wakes_whoever_waits_for_one(acme):
    woken = []
    intake = Intake(acme, committed=lambda names: woken.append((sorted(names), len(message_ids(acme)))))

    intake.take([text()])

    assert woken == [(["acme"], 1)]


def run_threads(*works):
    """Run these side by side; raise the first failure."""
    failures = []

    def run(work):
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_waiting_texts_are_answered_when_the_intake_closes(acme, intake):
    async def ask():
        waiting = [asyncio.ensure_future(intake.receive(text("Hi", contact=at))) for at in range(50)]
        await asyncio.sleep(0)
        await asyncio.to_thread(intake.close)
        return await asyncio.gather(*waiting)

    answers = asyncio.run(ask())

    assert len([answer for answer in answers if error_of(answer) is None]) == len(message_ids(acme)) == 50

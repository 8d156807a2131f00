"""Reviews: a text that may have been a revocation waits for a person until it is due, and counts from its own time."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from consent.business_days import due_after, federal_holidays
from consent.canonical import parse_entry_id, parse_timestamp, timestamp
from consent.database import run
from consent.history import Question, consent_at
from consent.ledger import read_entry, walk
from consent.organizations import create_organization, set_mode, set_setting
from consent.replay import replay
from consent.reviews import (
    Closing,
    NoReviewError,
    Outcome,
    ReviewClosedError,
    State,
    backlogs,
    find_review,
    list_reviews,
    note_reviews,
)
from consent.tags import Tags
from consent.values import Group, Mode
from sync.clock import database_now
from sync.intake import Intake
from sync.migrate import tag_key
from sync.status import status
from tests.ledger.auditing import assert_whole, kept
from tests.sync.sync_world import NOON, SECOND, found, text

DOUBTFUL = "Yes, cancel the limit order"
CONTACT = "+14045550000"
DAY = 86_400


class Desk:
    """An organization's intake, and the person who looks at what waits for review."""

    def __init__(self, database):
        self.database = database
        # Weeks after the texts: when a person comes to look.
        self.intake = Intake(database, now=lambda: NOON + 30 * DAY * SECOND)

    def take(self, *texts):
        answers = self.intake.take(list(texts))
        assert [one for one in answers if "error" in one] == []
        return answers

    def opted_in(self, **where):
        self.take(text(sender="employee", **where), text("YES", at=60, **where))
        return self

    def doubt(self, said=DOUBTFUL, at=120, **where):
        """Take a text that may be a revocation; return its review's id."""
        [answer] = self.take(text(said, at=at, **where))
        [opened] = [one for one in self.entries(*answer["entries"]) if one.kind == "review"]
        return opened.id

    def close(self, review, outcome=Outcome.OPTED_OUT, *, note="she meant it", actor="ann", at=900):
        return self.intake.close_review(Closing(parse_entry_id(review), outcome, note, actor, NOON + at * SECOND))

    def entries(self, *ids):
        with self.database.read() as tx:
            return [read_entry(tx, *parse_entry_id(one)) for one in ids]

    def ledger(self):
        with self.database.read() as tx:
            return list(walk(tx, "acme"))

    def reviews(self, state=State.OPEN, now=NOON, **more):
        with self.database.read() as tx:
            return list_reviews(tx, now, state=state, **more)

    def rows(self):
        with self.database.read() as tx:
            return [tuple(row) for row in run(tx, "SELECT * FROM review ORDER BY organization, seq")]

    def state(self, at, **where):
        asked = text(**where)
        with self.database.read() as tx:
            question = Question("acme", asked["contact"], line=asked["line"], group=Group.TEXT)
            [moment] = consent_at(tx, Tags(tag_key(tx)), question, NOON + at * SECOND)
        return moment.said.state.value, moment.said.entry


@pytest.fixture
def desk(database):
    found(database, "acme")
    desk = Desk(database)
    yield desk
    desk.intake.close()


def set_scope(database, scope):
    with database.write() as tx:
        set_setting(tx, "acme", "opt_out_scope", scope, actor="test", now=NOON)


def kinds(desk, answer):
    return [one.kind for one in desk.entries(*answer["entries"])]


def test_a_possible_revocation_opens_a_review_in_the_step_of_its_text(desk):
    desk.opted_in()

    asked = text(DOUBTFUL, at=120)
    [answer] = desk.take(asked)

    said, opened = desk.entries(*answer["entries"])
    facts = opened.facts()
    assert (answer["verdict"], answer["flags"]) == ("delivered", ["possible_revocation"])
    assert (said.kind, opened.kind, opened.lane) == ("message", "review", "consent")
    assert (opened.conversation, opened.version, opened.occurred_at) == (
        said.conversation, said.version, NOON + 120 * SECOND
    )  # fmt: skip
    assert {name: facts[name] for name in ("review", "before", "after", "origin", "channel", "word", "tier")} == {
        "review": "opened", "before": "opted_in", "after": "opted_in", "origin": "mo", "channel": "sms",
        "word": "cancel", "tier": 9,
    }  # fmt: skip
    assert facts["due_at"] == "2026-12-08T12:02:00.000000Z"
    told = opened.revealed()
    assert (told["text"], told["message_id"], told["contact"]) == (DOUBTFUL, asked["id"], CONTACT)
    assert desk.take(asked) == [answer]
    assert len(desk.reviews()) == 1


@pytest.mark.parametrize(
    ("state", "before"),
    [
        pytest.param([], "none", id="none"),
        pytest.param([text(sender="employee")], "pending", id="pending"),
        pytest.param([text(sender="employee"), text("YES", at=60)], "opted_in", id="opted_in"),
    ],
)
def test_whoever_has_not_opted_out_may_have_revoked(desk, state, before):
    desk.take(*state)

    desk.doubt()

    [waiting] = desk.reviews()
    assert waiting.review.facts["before"] == before


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.DISCLAIMER])
def test_without_a_request_a_possible_revocation_is_reviewed_all_the_same(desk, mode):
    with desk.database.write() as tx:
        set_mode(tx, "acme", mode, actor="test", now=NOON)

    review = desk.doubt()
    closed = desk.close(review)

    assert closed["reason"] == "opted_out"
    assert desk.state(120)[0] == "opted_out"


def test_a_text_that_a_provider_took_for_help_may_be_a_revocation_too(desk):
    desk.opted_in()

    [answer] = desk.take(text("How do I stop these?", at=120, provider={"opt_out_type": "HELP"}))

    assert kinds(desk, answer) == ["message", "review"]


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        pytest.param([], text("See you at ten", at=120), id="nothing doubtful"),
        pytest.param([], text("STOP", at=120), id="a STOP"),
        pytest.param([], text("please stop", at=120), id="a STOP in other words"),
        pytest.param([], text(DOUBTFUL, at=120, sender="employee"), id="an employee's text"),
        pytest.param([], text(DOUBTFUL, at=30), id="older than the decision in force"),
        pytest.param([], text("Liked “Reply STOP to cancel”", at=120), id="a reaction"),
        pytest.param([], text(DOUBTFUL, at=120, provider={"opt_out_type": "STOP"}), id="the carrier's STOP"),
        pytest.param([], text(DOUBTFUL, at=120) | {"contact": "72000"}, id="a short code"),
        pytest.param([text("STOP", at=90)], text(DOUBTFUL, at=120), id="opted out"),
        pytest.param([text(DOUBTFUL, at=90), text(DOUBTFUL, at=100)], text(DOUBTFUL, at=120), id="the third time"),
    ],
)
def test_no_review_where_the_text_decided_or_decides_nothing_or_nothing_is_left_to_revoke(desk, before, asked):
    desk.opted_in().take(*before)

    [answer] = desk.take(asked)

    assert "review" not in kinds(desk, answer)


def test_a_possible_revocation_of_who_has_opted_out_is_consumed_and_flagged(desk):
    desk.opted_in().take(text("STOP", at=90))

    [answer] = desk.take(text(DOUBTFUL, at=120))

    assert (answer["verdict"], answer["reason"], answer["flags"]) == ("consumed", "opted_out", ["possible_revocation"])
    assert answer["auto_messages"] == []


@pytest.mark.parametrize(
    ("sent_at", "due_at", "around"),
    [
        ("2026-11-02T15:00:00Z", "2026-11-17T15:00:00Z", "Veterans Day"),
        ("2026-11-23T15:00:00Z", "2026-12-08T15:00:00Z", "Thanksgiving"),
        ("2026-11-21T15:00:00Z", "2026-12-07T15:00:00Z", "a Saturday and Thanksgiving"),
        ("2026-12-24T15:00:00Z", "2027-01-11T15:00:00Z", "Christmas and New Year"),
        ("2027-12-20T15:00:00Z", "2028-01-05T15:00:00Z", "both observed on Fridays, one of the next year's"),
        ("2026-06-12T15:00:00Z", "2026-06-29T15:00:00Z", "Juneteenth on a Friday"),
        ("2027-06-17T15:00:00Z", "2027-07-02T15:00:00Z", "Juneteenth on a Saturday, observed the day before"),
        ("2026-06-26T15:00:00Z", "2026-07-13T15:00:00Z", "Independence Day on a Saturday"),
        ("2026-03-02T15:00:00Z", "2026-03-16T15:00:00Z", "no holiday"),
        ("2026-03-07T15:00:00Z", "2026-03-20T15:00:00Z", "a Saturday"),
        ("2026-03-08T22:00:00-04:00", "2026-03-20T22:00:00-04:00", "a Sunday evening in New York, Monday in Greenwich"),
        ("2026-03-06T22:00:00-05:00", "2026-03-19T22:00:00-05:00", "a Friday evening there, Saturday in Greenwich"),
    ],
)
def test_a_review_is_due_in_ten_business_days(sent_at, due_at, around):
    assert timestamp(due_after(parse_timestamp(sent_at))) == timestamp(parse_timestamp(due_at)), around


@given(
    sent_at=st.integers(946_684_800, 2_840_140_800).map(lambda second: datetime.fromtimestamp(second, UTC)),
    hours=st.integers(-10, 0),
)
def test_on_no_calendar_of_the_united_states_are_more_than_ten_days_given(sent_at, hours):
    due = datetime.fromisoformat(timestamp(due_after(parse_timestamp(sent_at.isoformat()))))
    first = (sent_at + timedelta(hours=hours)).date()
    last = (due + timedelta(hours=hours)).date()

    days = [first + timedelta(days=count) for count in range(1, (last - first).days + 1)]
    counted = [day for day in days if day.weekday() < 5 and day not in federal_holidays()]

    assert len(counted) in (9, 10)
    assert due.time() == sent_at.time()


def test_a_person_finds_no_revocation_and_nothing_changes(desk):
    review = desk.opted_in().doubt()

    answer = desk.close(review, Outcome.NO_REVOCATION, note="an order of his", actor="cli-1")

    [closed] = desk.entries(*answer["entries"])
    facts = closed.facts()
    assert (answer["outcome"], answer["changed"], answer["auto_messages"]) == ("no_revocation", [], [])
    assert (closed.kind, closed.occurred_at) == ("review", NOON + 900 * SECOND)
    assert {name: facts[name] for name in ("review", "opening", "outcome", "reason", "actor", "due_at")} == {
        "review": "closed", "opening": review, "outcome": "no_revocation", "reason": None, "actor": "cli-1",
        "due_at": "2026-12-08T12:02:00.000000Z",
    }  # fmt: skip
    assert closed.revealed()["note"] == "an order of his"
    assert desk.reviews() == []
    assert desk.take(text(sender="employee", at=1_000))[0]["verdict"] == "delivered"


def test_a_revocation_opts_out_as_of_its_text_and_both_sides_are_told_now(desk):
    review = desk.opted_in().doubt()

    answer = desk.close(review)

    closed, decision, *sent = desk.entries(*answer["entries"])
    facts = decision.facts()
    assert [change["state"] for change in answer["changed"]] == ["opted_out"]
    assert [one["template"] for one in answer["auto_messages"]] == ["mo.rejected.contact", "mo.rejected.employee"]
    assert (answer["outcome"], answer["reason"]) == ("opted_out", "opted_out")
    assert decision.occurred_at == NOON + 120 * SECOND
    assert {one.occurred_at for one in (closed, *sent)} == {NOON + 900 * SECOND}
    assert {name: facts[name] for name in ("decision", "source", "scope", "opening", "actor", "word", "tier")} == {
        "decision": "opted_out", "source": "review", "scope": "pair", "opening": review, "actor": "ann",
        "word": "cancel", "tier": 9,
    }  # fmt: skip
    assert decision.revealed()["text"] == DOUBTFUL
    assert desk.state(119)[0] == "opted_in"
    assert desk.state(120) == desk.state(500) == ("opted_out", decision.id)
    blocked = desk.take(text(sender="employee", at=1_000))[0]
    assert (blocked["reason"], blocked["auto_messages"]) == ("opted_out", [])


def test_what_was_held_is_never_delivered_after_a_revocation(desk):
    desk.take(text("Hello", at=0), text("Are you there?", at=30))

    review = desk.doubt(at=120)
    answer = desk.close(review)

    decision = desk.entries(*answer["entries"])[1].facts()
    assert len(decision["discarded"]) == 3
    assert desk.take(text("START", at=1_000))[0]["released"] == []


def test_what_the_contact_decided_after_the_text_stands(desk):
    desk.take(text(sender="employee"))
    review = desk.doubt(at=120)
    desk.take(text("YES", at=200))

    answer = desk.close(review)

    assert (answer["outcome"], answer["reason"]) == ("opted_out", "late")
    assert (answer["changed"], answer["auto_messages"], len(answer["entries"])) == ([], [], 1)
    assert desk.state(500)[0] == "opted_in"
    assert desk.reviews() == []


def test_at_the_same_instant_the_revocation_wins(desk):
    desk.take(text(sender="employee"))
    review = desk.doubt(at=120)
    desk.take(text("YES", at=120))

    assert desk.close(review)["reason"] == "opted_out"


def test_where_the_contact_is_opted_out_already_only_the_closing_is_recorded(desk):
    review = desk.opted_in().doubt()
    stopped = desk.take(text("STOP", at=200))[0]

    answer = desk.close(review)

    assert (answer["reason"], answer["changed"], answer["auto_messages"]) == ("duplicate", [], [])
    assert kinds(desk, answer) == ["review"]
    assert desk.state(500) == ("opted_out", stopped["entries"][1])


def test_whoever_has_the_number_now_revoked_nothing(desk):
    review = desk.opted_in().doubt()
    desk.take(
        {"id": "r1", "org": "acme", "event": "number_reassigned", "contact": CONTACT,
         "at": timestamp(NOON + 300 * SECOND)}
    )  # fmt: skip

    answer = desk.close(review)

    assert (answer["reason"], answer["changed"]) == ("number_reassigned", [])
    assert desk.take(text(sender="employee", at=1_000))[0]["reason"] == "consent_requested"


def test_a_revocation_holds_for_the_next_employee_of_the_line(desk):
    review = desk.opted_in().doubt()
    desk.take(text(sender="employee", at=300, employee={"id": "e9", "name": "Bo Ray"}))

    answer = desk.close(review)

    assert answer["reason"] == "opted_out"
    told = desk.entries(answer["auto_messages"][1]["entry"])[0].revealed()
    assert told["employee_name"] == "Bo Ray"


def test_the_review_of_a_contact_who_was_erased_can_still_be_closed_and_nobody_is_told(desk):
    set_scope(desk.database, "org")
    review = desk.opted_in().doubt()
    with desk.database.write() as tx:
        run(tx, "UPDATE entry SET personal = NULL WHERE conversation IS NOT NULL")
        run(tx, "UPDATE conversation SET line = NULL, contact = NULL")

    [waiting] = desk.reviews()
    answer = desk.close(review)

    assert waiting.review.said == {}
    assert (answer["reason"], answer["auto_messages"]) == ("opted_out", [])
    assert desk.take(text(sender="employee", at=1_000))[0]["reason"] == "opted_out"


def test_a_revocation_reaches_as_far_as_any_opt_out_of_the_organization(desk):
    for line in (0, 1, 2):
        desk.opted_in(line=line)
    review = desk.doubt(line=0)
    desk.take(text("STOP", at=200, line=2), text("START", at=300, line=2))
    set_scope(desk.database, "org")

    answer = desk.close(review)

    first, beside = [one for one in desk.entries(*answer["entries"]) if one.kind == "decision"]
    assert [(one["to"], one["line"][-1]) for one in answer["auto_messages"]] == [
        ("contact", "0"), ("employee", "0"), ("employee", "1"),
    ]  # fmt: skip
    assert first.facts()["closed"] == [beside.conversation]
    assert (beside.facts()["source"], beside.facts()["elsewhere"]) == ("review", first.conversation)
    assert {first.occurred_at, beside.occurred_at} == {NOON + 120 * SECOND}
    # What was decided on that line after the text stands; a line without a conversation begins opted out.
    assert [desk.state(900, line=line)[0] for line in (0, 1, 2)] == ["opted_out", "opted_out", "opted_in"]
    assert desk.state(900, line=3) == ("opted_out", first.id)
    assert desk.take(text(sender="employee", at=1_000, line=4))[0]["reason"] == "opted_out"


def test_a_scope_of_the_sub_organization_leaves_the_others_alone(desk):
    set_scope(desk.database, "sub_org")
    with desk.database.write() as tx:
        create_organization(tx, "branch", "Branch", parent="acme", actor="test", now=NOON)
    for line, org in ((0, "branch"), (1, "branch"), (2, "acme")):
        desk.opted_in(line=line, org=org)
    review = desk.doubt(line=0, org="branch")

    desk.close(review)

    assert [desk.state(900, line=line)[0] for line in (0, 1, 2)] == ["opted_out", "opted_out", "opted_in"]
    assert desk.reviews(State.ALL, sub_organization="branch")[0].sub_organization == "branch"


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_same_outcome_again_is_answered_the_same_and_the_other_is_refused(desk, outcome):
    review = desk.opted_in().doubt()
    [other] = set(Outcome) - {outcome}
    answer = desk.close(review, outcome)
    before = desk.ledger()

    assert desk.close(review, outcome, note="once more", actor="bo", at=5_000) == answer
    with pytest.raises(ReviewClosedError, match="was closed before"):
        desk.close(review, other)
    assert desk.ledger() == before


def test_what_is_no_open_review_is_refused(desk):
    review = desk.opted_in().doubt()
    closed = desk.close(review)
    before = desk.ledger()

    for wrong in ("acme-000000000000", "acme-000000000999", "globex-000000000001", "system-000000000000",
                  closed["entries"][0]):  # fmt: skip
        with pytest.raises(NoReviewError, match="there is no review of this id"):
            desk.close(wrong)
    assert desk.ledger() == before


@pytest.mark.parametrize("outcomes", [[Outcome.OPTED_OUT] * 4, [*Outcome, *Outcome]])
def test_of_several_who_close_at_once_one_does(database_url, open_databases, outcomes):
    found(first := open_databases(database_url), "acme")
    review = Desk(first).opted_in().doubt()
    desks = [Desk(open_databases(database_url)) for _ in outcomes]
    answers, refused = [], []
    together = threading.Barrier(len(desks))

    def close(desk, outcome):
        together.wait()
        try:
            answers.append(desk.close(review, outcome))
        except ReviewClosedError as error:
            refused.append(error)

    threads = [threading.Thread(target=close, args=pair) for pair in zip(desks, outcomes, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    closings = [one for one in Desk(first).ledger() if one.kind == "review" and one.facts()["review"] == "closed"]
    assert len(closings) == 1
    assert len(answers) == outcomes.count(Outcome(closings[0].facts()["outcome"]))
    assert all(answer == answers[0] for answer in answers)
    assert len(answers) + len(refused) == len(outcomes)
    assert_whole(first, "acme")


_acts = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from([DOUBTFUL, "stop by at 5", "YES", "STOP", "START", "Hi"]),
            st.sampled_from(["contact", "contact", "employee"]), st.integers(0, 1), st.integers(0, 900),
        ),
        st.tuples(st.sampled_from(Outcome), st.integers(0, 5)),
        st.sampled_from(["pair", "org"]),
    ),
    max_size=16,
)  # fmt: skip


class Firms:
    """Organizations of their own for each example."""

    def __init__(self):
        self.count = 0

    def another(self, database):
        self.count += 1
        found(database, name := f"firm-{self.count}")
        return name


@pytest.fixture(scope="session")
def firms():
    return Firms()


@given(acts=_acts)
def test_replaying_a_ledger_gives_the_same_states_and_the_same_reviews(database, firms, acts):
    org = firms.another(database)
    desk, opened = Desk(database), []
    for act in acts:
        match act:
            case (said, sender, line, at):
                [answer] = desk.take(text(said, sender=sender, line=line, at=at, org=org))
                opened += [one.id for one in desk.entries(*answer["entries"]) if one.kind == "review"]
            case (outcome, which):
                for review in opened[which : which + 1]:
                    try:
                        desk.close(review, outcome)
                    except ReviewClosedError:
                        assert which < len(opened)
            case scope:
                with database.write() as tx:
                    set_setting(tx, org, "opt_out_scope", scope, actor="test", now=NOON)
    with database.read() as tx:
        entries = list(walk(tx, org))

    assert replay(entries) == kept(database, org)
    before = desk.rows()
    with database.write() as tx:
        run(tx, "DELETE FROM review WHERE organization = ?", [org])
        note_reviews(tx, entries)
    assert desk.rows() == before


def test_open_reviews_come_by_due_date_and_all_in_the_order_they_were_opened_a_page_at_a_time(desk):
    found(desk.database, "globex")
    late, soon, other = (
        desk.doubt(at=5 * DAY), desk.doubt(at=120, contact=1), desk.doubt(at=2 * DAY, org="globex", contact=2)
    )  # fmt: skip
    closed = desk.doubt(at=300, contact=3)
    desk.close(closed, Outcome.NO_REVOCATION)

    def listed(**asked):
        return [one.review.id for one in desk.reviews(**asked)]

    def key(review):
        return parse_entry_id(review)

    assert listed() == [soon, other, late]
    assert listed(organization="globex") == [other]
    assert listed(limit=2) == [soon, other]
    assert listed(after=key(other)) == [late]
    assert listed(after=key(late)) == []
    assert listed(state=State.ALL) == [late, soon, closed, other]
    assert listed(state=State.ALL, after=key(soon), limit=1) == [closed]
    assert listed(after=key(closed)) == [other, late]
    due = find_due(desk, other)
    assert listed(state=State.OVERDUE, now=due) == [soon]
    assert listed(state=State.OVERDUE, now=due + 1) == [soon, other]


def find_due(desk, review):
    with desk.database.read() as tx:
        return find_review(tx, *parse_entry_id(review)).due_at


def test_status_says_how_many_wait_and_how_many_are_overdue(desk):
    assert status(desk.database, [])["reviews"] == []
    old = desk.opted_in().doubt(at=-5 * 365 * DAY, contact=1)
    # What is overdue is asked of the machine's clock: the other text is of today by that one.
    [new] = Intake(desk.database).take([text(DOUBTFUL, contact=2) | {"sent_at": datetime.now(UTC).isoformat()}])
    assert "error" not in new
    closed = desk.doubt(at=120, contact=3)
    desk.close(closed)

    [told] = status(desk.database, [])["reviews"]

    assert told == {
        "organization": "acme", "open": 2, "overdue": 1, "next_due_at": timestamp(find_due(desk, old)),
    }  # fmt: skip
    with desk.database.read() as tx:
        assert [(one.open, one.overdue) for one in backlogs(tx, database_now(tx) + 60 * DAY * SECOND)] == [(2, 2)]


def test_looking_for_open_reviews_reads_no_closed_one(make_sqlite_url, open_databases):
    database = open_databases(make_sqlite_url())
    asked = []
    event.listen(database.engine, "before_cursor_execute", lambda *said: asked.append(said[2:4]))

    with database.read() as tx:
        list_reviews(tx, NOON)
        list_reviews(tx, NOON, organization="acme")
        list_reviews(tx, NOON, state=State.OVERDUE)
        backlogs(tx, NOON)
        looked = [(sql, parameters) for sql, parameters in asked if "review" in sql]
        plans = [
            tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters).first().detail for sql, parameters in looked
        ]

    assert len(plans) == 4
    assert all("USING INDEX review_open_ix" in plan for plan in plans), plans

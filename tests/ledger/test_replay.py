"""Replay: the ledger alone gives the states that the database keeps beside it."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.kinds import Kind
from consent.ledger import append, walk
from consent.organizations import set_mode
from consent.replay import ReplayError, replay, restore, snapshot
from consent.values import Mode, Record
from sync.intake import Intake
from tests.ledger.auditing import kept
from tests.sync.sync_world import NOON, found, text

_numbers = itertools.count()

_TEXTS = ["Hi", "YES", "STOP", "stop all", "HELP", "NO", "START", "See you at ten", "Liked “Hi”", "please stop", "\x00"]
_texts = st.builds(
    lambda said, sender, contact, line, at, more: (said, sender, contact, line, at, more),
    st.sampled_from(_TEXTS),
    st.sampled_from(["employee", "contact", "contact"]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(-90_000, 90_000),
    st.sampled_from([{}, {}, {"channel": "whatsapp"}, {"employee": {"id": "e9", "name": "Bo Day"}},
                     {"provider": {"opt_out_type": "STOP"}}, {"channel": "mms", "media": [{"name": "a.jpg"}]}]),
)  # fmt: skip
_events = st.builds(
    lambda said, contact, line, at, entry: (said, contact, line, at, entry),
    st.sampled_from([
        {"event": "number_reassigned"}, {"event": "line_reassigned"},
        *({"event": "delivery_status", "status": status} for status in ("delivered", "undeliverable", "opted_out")),
        *({"event": "revoked", "scope": scope, "note": "by phone"} for scope in ("pair", "sub_org", "org")),
        {"event": "revoked", "channel": "whatsapp"},
    ]),
    st.integers(0, 3),
    st.integers(0, 2),
    st.integers(-90_000, 90_000),
    st.integers(0, 60),
)  # fmt: skip
_groups = st.lists(
    st.one_of(st.lists(st.one_of(_texts, _texts, _events), min_size=1, max_size=12), st.sampled_from(list(Mode))),
    max_size=8,
)


def take(database, org, groups):
    intake = Intake(database)
    for group in groups:
        if isinstance(group, Mode):
            with database.write() as tx:
                set_mode(tx, org, group, actor="test", now=NOON)
            continue
        answers = intake.take([happened(org, *one) if len(one) == 5 else texted(org, *one) for one in group])
        errors = [answer["error"]["detail"] for answer in answers if "error" in answer]
        assert set(errors) <= {"`entry` names no message of this organization"}  # a status of what was never sent
    intake.close()


def texted(org, said, sender, contact, line, at, more):
    return text(said, sender=sender, contact=contact, line=line, at=at, org=org, **more)


def happened(org, said, contact, line, at, entry):
    told = text(contact=contact, line=line, at=at, org=org)
    about = {
        "number_reassigned": {"contact": told["contact"]},
        "line_reassigned": {"line": told["line"], "employee": {"id": f"e{entry}", "name": "Cy Fox"}},
        "delivery_status": {"entry": f"{org}-{entry:012d}"},
        "revoked": {"contact": told["contact"], "line": told["line"]},
    }
    return {"id": told["id"], "org": org, "at": told["sent_at"]} | said | about[said["event"]]


def stored(database, org):
    with database.read() as tx:
        return list(walk(tx, org))


def nameless(states):
    return {name: told._replace(line="", contact="") for name, told in states.items()}


@settings(max_examples=40)
@given(groups=_groups, cut=st.floats(0, 1))
def test_any_texts_replay_to_exactly_the_states_that_are_kept(database, groups, cut):
    org = f"acme-{next(_numbers)}"
    found(database, org)
    take(database, org, groups)
    entries = stored(database, org)
    middle = int(cut * len(entries))

    states = replay(entries)
    halfway = restore(snapshot(org, middle, replay(entries[:middle])))
    from_halfway = replay(entries[middle:], halfway)

    assert states == kept(database, org)
    assert nameless(from_halfway) == nameless(states)


@pytest.fixture
def told(database):
    """A ledger with a little of everything."""
    found(database, "acme")
    take(database, "acme", [
        [("Hi", "employee", 0, 0, 0, {}), ("YES", "contact", 0, 0, 60, {}), ("Hello", "contact", 1, 1, 61, {})],
        [("STOP", "contact", 1, 1, 62, {}), ("Hi", "contact", 0, 2, 63, {}), ("stop all", "contact", 0, 0, 64, {})],
    ])  # fmt: skip
    return database


def test_replay_needs_no_personal_value(told):
    before = replay(stored(told, "acme"))
    with told.write() as tx:
        tx.exec_driver_sql("UPDATE entry SET personal = NULL")

    after = replay(stored(told, "acme"))

    assert after == nameless(before)
    assert {state.consent.value for state in after.values()} == {"opted_out"}


def test_replay_goes_on_from_a_snapshot_where_what_came_before_was_disposed_of(told):
    entries = stored(told, "acme")
    taken = snapshot("acme", 9, replay(entries[:9]))
    with told.write() as tx:
        tx.exec_driver_sql("UPDATE entry SET personal = NULL, body = NULL WHERE organization = 'acme' AND seq < 9")
    left = stored(told, "acme")

    states = replay(left[9:], restore(taken))

    assert nameless(states) == nameless(kept(told, "acme"))
    with pytest.raises(ReplayError, match=r"^acme-000000000000 was disposed of: replay from a snapshot"):
        replay(left)


def test_a_snapshot_is_the_same_bytes_for_the_same_states_and_holds_nothing_personal(told):
    states = replay(stored(told, "acme"))
    backwards = dict(reversed(states.items()))

    taken = snapshot("acme", 30, states)

    assert taken == snapshot("acme", 30, backwards)
    assert snapshot("acme", 30, restore(taken).conversations) == taken
    assert b"+1404" not in taken
    assert b"Ann" not in taken


def test_a_gap_in_the_entries_is_named(told):
    entries = stored(told, "acme")

    with pytest.raises(ReplayError, match=r"^acme-000000000005 isn't the ledger's next entry"):
        replay([*entries[:4], *entries[5:]])
    with pytest.raises(ReplayError, match="next entry"):
        replay(entries[3:], restore(snapshot("globex", 3, {})))


def test_entries_that_belong_to_no_conversation_change_no_state(told):
    before = replay(stored(told, "acme"))
    with told.write() as tx:
        append(tx, "acme", [Record(Kind.ACCESS, NOON, {"access": "export"}, {})], NOON)

    assert replay(stored(told, "acme")) == before

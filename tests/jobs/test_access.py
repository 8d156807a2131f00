"""Who gets in, what they see, and what is written down of it, on both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from consent.kinds import Kind
from consent.ledger import append, read_range
from consent.organizations import create_organization
from consent.values import Record
from jobs.access import Access, Limits, Purpose, Role, note_setting, users
from jobs.access.links import make_link, take_link
from jobs.access.passwords import PasswordError, check_password, hash_password

PASSWORD = "four quite ordinary words"
MINUTE = 60 * 1_000_000


class Clock:
    def __init__(self):
        self.now = 1_795_435_200_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def access(database, clock):
    with database.write() as tx:
        for org, parent in (("acme", None), ("acme-west", "acme"), ("acme-west-1", "acme-west"), ("globex", None)):
            create_organization(tx, org, org.title(), parent=parent, actor="test", now=1)
    return Access(database, clock=clock)


def user(access, login="ann@bank.example", *roles, org=None):
    with access.database.write() as tx:
        return users.create_user(
            tx, login, "Ann Lee", roles or Role, organization=org, actor="test", now=access.clock()
        )


def entered(access, one):
    with access.database.write() as tx:
        key = make_link(tx, Purpose.SIGN_IN, one.id, access.clock(), seconds=60)
    return access.viewer(access.enter(key))


def entries(access, organization, kind=Kind.ACCESS):
    with access.database.read() as tx:
        return [one for one in read_range(tx, organization, 0, 1_000) if one.kind == kind]


def test_a_viewer_sees_the_tree_of_their_organization_and_nothing_beside_it(access):
    everything = entered(access, user(access, "all@bank.example"))
    acme = entered(access, user(access, "acme@bank.example", org="acme"))
    west = entered(access, user(access, "west@bank.example", org="acme-west"))

    assert [everything.sees(one) for one in ("acme", "globex", "system")] == [True, True, True]
    assert [acme.sees(one) for one in ("acme", "acme-west-1", "globex", "system")] == [True, True, False, False]
    assert [west.sees(one) for one in ("acme-west", "acme-west-1", "acme", "globex")] == [True, True, False, False]
    assert west.sees("acme", "acme-west-1")
    assert not west.sees("acme", None)


def test_of_a_main_organizations_ledger_a_sub_organizations_viewer_sees_what_names_it(access, clock):
    west = entered(access, user(access, "west@bank.example", org="acme-west"))
    told = [
        {"sub_organization": "acme-west-1"},
        {"sub_organization": "acme-east"},
        {},
        {"setting": "x", "id": "acme-west"},
    ]
    with access.database.write() as tx:
        made = append(tx, "acme", [Record(Kind.MESSAGE, clock.now, body, {}) for body in told], clock.now)

    assert [west.sees_entry(entry) for entry in made] == [True, False, False, True]


def test_a_role_that_is_taken_away_is_gone_at_the_next_page(access, clock):
    one = user(access, "ann@bank.example", Role.SETUP, Role.REPORTS)
    with access.database.write() as tx:
        key = make_link(tx, Purpose.SIGN_IN, one.id, clock.now, seconds=60)
    secret = access.enter(key)
    before = access.viewer(secret)
    with access.database.write() as tx:
        users.change_user(tx, "ANN@bank.example", roles=[Role.REPORTS], actor="test", now=clock.now)
    after = access.viewer(secret)

    assert (before.may(Role.SETUP), after.may(Role.SETUP), after.may(Role.REPORTS)) == (True, False, True)
    assert not after.may(Role.OPERATIONS)


def test_a_sign_in_stands_in_the_ledger_of_the_users_organization(access):
    entered(access, user(access, "west@bank.example", org="acme-west"))
    entered(access, user(access, "all@bank.example"))

    [of_west] = entries(access, "acme")
    [of_all] = entries(access, "system")
    assert of_west.facts()["operation"] == of_all.facts()["operation"] == "sign_in"
    assert of_west.facts()["sub_organization"] == "acme-west"
    assert of_west.lane == "audit"
    assert of_west.values == b"{}"


def test_numbers_are_revealed_to_one_session_for_a_while_and_for_a_reason_that_is_kept(access, clock):
    one = user(access, org="acme")
    here, elsewhere = entered(access, one), entered(access, one)

    told = access.reveal(here, "acme", "c0ffee", "the contact called about a STOP", conversation="c0ffee")
    shown = [access.revealed(who, "acme", ["c0ffee", "decaf"]) for who in (here, elsewhere)]
    clock.now += 15 * MINUTE + 1
    later = access.revealed(here, "acme", ["c0ffee"])

    assert shown == [{"c0ffee"}, frozenset()]
    assert later == frozenset()
    assert told.organization == "acme"
    assert (told.facts()["operation"], told.facts()["conversation"]) == ("reveal", "c0ffee")
    assert told.facts()["actor"] == one.id
    assert told.revealed() == {"note": "the contact called about a STOP"}
    assert "called" not in told.body.decode()


def test_many_guesses_at_once_lock_the_login_and_the_right_password_waits(access, clock):
    one = user(access)
    with access.database.write() as tx:
        users.store_password(tx, one.id, hash_password(PASSWORD), actor="test", now=clock.now)
    with ThreadPoolExecutor(6) as pool:
        guesses = list(pool.map(lambda n: access.sign_in(one.login, f"wrong {n}"), range(12)))
    while_locked = access.sign_in(one.login, PASSWORD)
    clock.now += 16 * MINUTE

    assert guesses == [None] * 12
    assert while_locked is None
    assert access.sign_in(one.login, PASSWORD) is not None
    locks = [entry for entry in entries(access, "system") if entry.facts()["operation"] == "locked"]
    assert len(locks) >= 1
    with access.database.read() as tx:
        assert users.user(tx, one.login).locked_until == 0


def test_a_password_that_was_forgotten_is_chosen_anew_and_ends_every_session(access, clock):
    one = user(access)
    old = entered(access, one)
    with access.database.write() as tx:
        key = make_link(tx, Purpose.PASSWORD, one.id, clock.now, seconds=60)

    secret = access.enter_with_password(key, PASSWORD)

    assert access.viewer(secret).id == one.id
    with access.database.read() as tx:
        open_now = tx.exec_driver_sql("SELECT count(*) FROM access_session").scalar()
    assert open_now == 1
    assert old is not None


def test_of_many_who_take_a_link_at_once_one_gets_it(access, clock):
    one = user(access)
    with access.database.write() as tx:
        key = make_link(tx, Purpose.SIGN_IN, one.id, clock.now, seconds=60)

    def take(_):
        with access.database.write() as tx:
            return take_link(tx, key, Purpose.SIGN_IN, clock.now)

    with ThreadPoolExecutor(6) as pool:
        taken = [one for one in pool.map(take, range(6)) if one is not None]

    assert len(taken) == 1


def test_a_link_taken_for_another_purpose_is_not_spent(access, clock):
    one = user(access)
    with access.database.write() as tx:
        key = make_link(tx, Purpose.SIGN_IN, one.id, clock.now, seconds=60)

    for_a_password = access.enter_with_password(key, "four quite ordinary words")
    for_what_it_is = access.enter(key)

    assert for_a_password is None
    assert for_what_it_is is not None


def test_a_link_replaces_earlier_ones_and_a_disabled_users_link_opens_nothing(access, clock):
    one = user(access)
    with access.database.write() as tx:
        first, second = (make_link(tx, Purpose.SIGN_IN, one.id, clock.now, seconds=60) for _ in range(2))
    assert access.link(first) is None
    assert access.link(second) is not None

    with access.database.write() as tx:
        users.change_user(tx, one.login, disabled=True, actor="test", now=clock.now)

    assert access.enter(second) is None


def test_only_the_first_of_two_first_users_is_made(access):
    key = access.first_link()

    secret = access.enter_first(key, "ann@bank.example", "Ann Lee", PASSWORD)

    viewer = access.viewer(secret)
    assert viewer.roles == frozenset(Role)
    assert viewer.organizations is None
    assert access.enter_first(key, "eve@evil.example", "Eve", PASSWORD) is None
    assert access.first_link() is None


def test_limits_come_from_the_settings(database, access, clock):
    strict = Access(database, Limits(idle_minutes=1, session_hours=1), clock)
    one = user(strict)
    with database.write() as tx:
        key = make_link(tx, Purpose.SIGN_IN, one.id, clock.now, seconds=60)
    secret = strict.enter(key)
    clock.now += MINUTE - 1
    within = strict.viewer(secret)
    clock.now += MINUTE + 1

    assert within is not None
    assert strict.viewer(secret) is None


@pytest.mark.parametrize(
    "bad", ["short", "ann@bank.example", "assentassentassent", "passwordpassword1", "qqqqqqqqqqqqqqqqq"]
)
def test_a_password_that_anybody_would_try_is_refused(bad):
    with pytest.raises(PasswordError) as refusal:
        check_password(bad, "ann@bank.example", "Ann Lee")
    assert bad not in str(refusal.value)


def test_a_password_fits_however_its_letters_were_composed(access, clock):
    one = user(access)
    with access.database.write() as tx:
        users.store_password(tx, one.id, hash_password("café au lait à la carte"), actor="test", now=clock.now)

    assert access.sign_in(one.login, "cafe\u0301 au lait a\u0300 la carte") is not None


def test_a_change_of_what_belongs_to_no_organization_stands_in_the_system_ledger(access, clock):
    with access.database.write() as tx:
        told = note_setting(tx, "token", actor="test", organization=None, now=clock.now, facts={"id": "tok-1"})

    assert (told.organization, told.lane, told.kind) == ("system", "audit", "setting")

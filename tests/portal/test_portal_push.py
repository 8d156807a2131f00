"""What the portal destination promises to delivery, over a real socket."""

import hashlib
import threading

import orjson
import pytest

from connectors.contract import ConnectorContract, find, make_entries, make_statement, push_all
from connectors.portal import protocol
from connectors.portal.connector import PortalSettings
from consent.canonical import base64url, canonical
from consent.entry import leaf_of
from sync.port import Receipt, Refusal, SuspendedError, TransientError
from tests.portal.portal_world import answering, batch, cutting, text_entry, texts


class TestPortalKeepsTheContract(ConnectorContract):
    @pytest.fixture
    def connector(self, connect):
        return connect()

    @pytest.fixture
    def outage(self, portal):
        return portal.server.away


def test_both_ends_compute_the_digest_for_themselves_and_agree(connect):
    entry = text_entry(7)

    (receipt,) = connect().push(batch([entry]))

    told = {
        "id": "acme-000000000007", "organization": "acme", "seq": 7, "lane": "messages", "pos": 7, "kind": "message",
        "conversation": "c0ffee", "version": 7, "occurred_at": "2026-11-23T12:00:07.000000Z",
        "recorded_at": "2026-11-23T12:00:07.000000Z", "body": entry.facts(), "leaf_hash": entry.leaf.hex(),
        "values": orjson.loads(entry.values),
    }  # fmt: skip
    assert receipt == Receipt("acme-000000000007", hashlib.sha256(canonical(told)).digest()[:16])


def test_the_same_id_with_another_content_is_refused_as_tampering_and_the_first_one_stays(connect, portal):
    connector, first, other = connect(), text_entry(0, "I agree"), text_entry(0, "I never agreed")
    (kept,) = connector.push(batch([first]))

    (refused,) = connector.push(batch([other]))

    assert isinstance(refused, Refusal)
    assert refused.code == "tamper"
    assert [held.digest for held in find(connector, [first])] == [kept.digest]


def test_a_position_can_be_taken_once(connect, portal):
    connector = connect()
    connector.push(batch([text_entry(0, pos=0)]))

    (refused,) = connector.push(batch([text_entry(1, pos=0)]))

    assert refused.code == "tamper"
    assert portal.count() == 1


def _with_another_text(entry):
    values = orjson.loads(entry.values)
    values["text"]["value"] = "Something else"
    return entry._replace(values=canonical(values))


def _with_a_value_never_committed_to(entry):
    values = orjson.loads(entry.values)
    values["note"] = {"salt": base64url(bytes(16)), "value": "added"}
    return entry._replace(values=canonical(values))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_with_another_text, "commitment_mismatch"),
        (_with_a_value_never_committed_to, "commitment_mismatch"),
        (lambda entry: entry._replace(body=entry.body.replace(b"delivered", b"blocked")), "leaf_mismatch"),
        (lambda entry: entry._replace(occurred_at=entry.occurred_at + 1), "leaf_mismatch"),
        (lambda entry: entry._replace(leaf=bytes(32)), "leaf_mismatch"),
        (lambda entry: entry._replace(kind="decision"), "malformed"),
        (lambda entry: entry._replace(version=-1), "malformed"),
        (lambda entry: entry._replace(organization="globex"), "wrong_ledger"),
    ],
)
def test_an_entry_whose_proof_does_not_hold_is_refused_alone(connect, portal, spoil, code):
    good = texts(3)
    entries = [good[0], spoil(good[1]), good[2]]

    outcomes = connect().push(batch(entries))

    assert [type(outcome) for outcome in outcomes] == [Receipt, Refusal, Receipt]
    assert outcomes[1].code == code
    assert portal.count() == 2


def test_an_erased_entry_is_taken_for_what_is_left_of_it(connect, portal):
    erased, disposed = text_entry(0)._replace(values=None), text_entry(1)._replace(body=None, values=None)
    assert leaf_of(erased) == erased.leaf

    outcomes = connect().push(batch([erased, disposed]))

    assert [outcome.digest for outcome in outcomes] == [protocol.digest(erased), protocol.digest(disposed)]


def test_an_answer_lost_on_the_way_back_is_asked_for_again_and_leaves_one_copy(connect, portal):
    entries = texts(20)

    with cutting(portal.url, answers=1) as between:
        outcomes = connect(url=between).push(batch(entries))

    assert [type(outcome) for outcome in outcomes] == [Receipt] * 20
    assert portal.count() == 20


def test_a_connection_cut_within_a_batch_leaves_nothing_of_it_and_the_retry_all(connect, portal):
    entries = texts(50)

    with cutting(portal.url, requests_at=9_000) as between, pytest.raises(TransientError) as cut:
        connect(url=between).push(batch(entries))
    assert portal.count() == 0
    push_all(connect(), entries)

    assert cut.value.code == "unreachable"
    assert portal.count() == 50


def test_overlapping_batches_pushed_at_once_leave_one_copy_of_each(connect, portal):
    connector, entries = connect(), texts(300)
    parts = [entries[first : first + 200] for first in (0, 50, 100)]

    workers = [threading.Thread(target=push_all, args=(connector, part)) for part in parts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [held.pos for held in find(connector, entries)] == list(range(300))


def test_reading_back_goes_on_from_page_to_page(connect):
    entries = make_entries("acme", "consent", protocol.PAGE + 2)
    connector = connect()
    for first in range(0, len(entries), 1_000):
        push_all(connector, entries[first : first + 1_000])

    found = list(connector.find("acme", "consent", 1, 10**9))

    assert [held.pos for held in found] == list(range(1, protocol.PAGE + 2))


def test_a_change_at_rest_shows_when_reading_back(connect, portal):
    connector, entry = connect(), text_entry(0)
    (receipt,) = connector.push(batch([entry]))

    with portal.store.database.write() as tx:
        tx.exec_driver_sql("UPDATE portal_entry SET kind = 'decision'")

    assert [held.digest == receipt.digest for held in find(connector, [entry])] == [False]


def test_a_batch_that_is_too_large_travels_in_parts(connect, portal):
    entries = [text_entry(seq, "x" * 1_500_000) for seq in range(7)]

    outcomes = connect().push(batch(entries))

    assert [type(outcome) for outcome in outcomes] == [Receipt] * 7
    assert portal.count() == 7


def test_one_entry_too_large_for_any_request_is_refused_alone(connect, portal):
    entries = [text_entry(0), text_entry(1, "x" * protocol.MAX_BYTES), text_entry(2)]

    outcomes = connect().push(batch(entries))

    assert [type(outcome) for outcome in outcomes] == [Receipt, Refusal, Receipt]
    assert outcomes[1].code == "too_large"


def test_a_secret_the_portal_does_not_know_suspends_the_destination(connect, portal):
    connector = connect(secrets=(protocol.new_secret(),))

    with pytest.raises(SuspendedError) as refused:
        connector.push(batch(texts(1)))

    assert refused.value.code == "signature"
    assert "secret_file" in refused.value.advice
    assert portal.count() == 0


def test_while_secrets_are_exchanged_a_batch_is_signed_with_both(connect, portal):
    outcomes = connect(secrets=(protocol.new_secret(), portal.secret)).push(batch(texts(2)))

    assert [type(outcome) for outcome in outcomes] == [Receipt, Receipt]


def test_a_wrong_address_suspends_and_an_empty_one_is_an_outage(connect, portal):
    with pytest.raises(SuspendedError) as wrong:
        connect(url=portal.url + "/elsewhere").push(batch(texts(1)))
    with pytest.raises(TransientError) as empty:
        connect(url="http://127.0.0.1:1/portal").push(batch(texts(1)))

    assert (wrong.value.code, empty.value.code) == ("wrong_url", "unreachable")


@pytest.mark.parametrize(
    ("status", "headers", "error", "code", "retry_after"),
    [
        (429, {"Retry-After": "17"}, TransientError, "busy", 17.0),
        (503, {"Retry-After": "120"}, TransientError, "unavailable", 120.0),
        (500, {}, TransientError, "unavailable", None),
        (502, {"Retry-After": "soon"}, TransientError, "unavailable", None),
        (401, {}, SuspendedError, "signature", None),
        (403, {}, SuspendedError, "signature", None),
        (410, {}, SuspendedError, "wrong_url", None),
        (308, {"Location": "http://127.0.0.1:1/"}, SuspendedError, "moved", None),
        (200, {}, TransientError, "bad_answer", None),
    ],
)
def test_each_answer_means_one_thing_and_its_body_is_never_quoted(connect, status, headers, error, code, retry_after):
    with answering((status, headers, b"<p>+14045550123 said: STOP</p>")) as url, pytest.raises(error) as told:
        connect(url=url).push(batch(texts(1)))

    assert told.value.code == code
    assert getattr(told.value, "retry_after", None) == retry_after
    assert "4045550123" not in str(told.value) + str(told.value.__cause__)


def test_a_short_outage_is_ridden_out_within_the_push(connect):
    entry = text_entry(0)
    stored = protocol.batch_answer([protocol.Result(entry.id, protocol.Status.STORED, protocol.digest(entry))])

    with answering((503, {}, b""), (500, {}, b""), (200, {}, stored)) as url:
        outcomes = connect(url=url).push(batch([entry]))

    assert outcomes == [Receipt(entry.id, protocol.digest(entry))]


def test_what_a_portal_keeps_in_another_form_is_no_receipt(connect):
    entry = text_entry(0)
    stored = protocol.batch_answer([protocol.Result(entry.id, protocol.Status.STORED, bytes(16))])

    with answering((200, {}, stored)) as url:
        (refused,) = connect(url=url).push(batch([entry]))

    assert refused.code == "altered"


def test_answers_for_other_entries_than_those_asked_count_for_nothing(connect):
    entry, other = texts(2)
    mixed = protocol.batch_answer([protocol.Result(other.id, protocol.Status.STORED, protocol.digest(other))])

    with answering((200, {}, mixed)) as url, pytest.raises(TransientError) as told:
        connect(url=url).push(batch([entry]))

    assert told.value.code == "bad_answer"


def test_what_a_portal_answers_only_in_part_is_still_owed(connect):
    entries = texts(3)
    first = protocol.batch_answer([protocol.Result(entries[0].id, protocol.Status.STORED, protocol.digest(entries[0]))])

    with answering((200, {}, first)) as url:
        outcomes = connect(url=url).push(batch(entries))

    assert len(outcomes) == 1


def test_an_entry_that_another_portal_can_not_read_is_found_by_halving(connect):
    entries = texts(2)

    with answering((422, {}, b"")) as url:
        outcomes = connect(url=url).push(batch(entries))

    assert [outcome.code for outcome in outcomes] == ["rejected", "rejected"]


def test_another_root_for_a_size_once_told_suspends_the_destination(connect):
    connector, entries = connect(), texts(3)
    connector.close(make_statement(entries))

    with pytest.raises(SuspendedError) as told:
        connector.close(make_statement([text_entry(seq, "forged") for seq in range(3)]))

    assert told.value.code == "tamper"


def test_the_preflight_says_which_secret_is_wrong_and_that_http_is_in_the_clear(connect):
    findings = connect(secrets=(protocol.new_secret(),)).check()
    far = connect(url="http://portal.invalid:1", attempts=1).check()

    assert [finding.ok for finding in findings] == [True, False]
    assert "secret" in findings[1].advice
    assert "https" in far[0].advice


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "a plain password", "whsec_not base64!" * 3])
def test_a_mistyped_secret_is_refused_at_once_and_not_repeated(connect, secret):
    with pytest.raises(ValueError, match="a portal secret is `whsec_`") as told:
        connect(secrets=(secret,))

    assert not secret or secret not in str(told.value).replace("`whsec_`", "")


def test_settings_do_not_show_their_secrets():
    secret = protocol.new_secret()

    assert secret not in repr(PortalSettings("http://127.0.0.1:8080/portal", (secret,)))

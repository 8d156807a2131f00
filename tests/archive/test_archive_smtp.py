"""Mails to an archive's journal on a real SMTP server: each at least once, under one Message-ID, never in the clear."""

from dataclasses import replace

import pytest

from connectors.archive.directory import Directory
from connectors.archive.journal import Journal
from connectors.archive.verify import verify_archive
from consent.kinds import Lane
from sync.port import Batch, Receipt, Refusal, SuspendedError, TransientError
from tests.archive.archive_samples import lane_of, make_ledger, push, state
from tests.archive.programs import free_port
from tests.archive.smtp_server import SmtpServer

CONSENT = lane_of(make_ledger("acme", 8), Lane.CONSENT)  # four entries
IDS = [one.id for one in CONSENT]


def sent(smtpd):
    """Return the entries mailed, in order, by their mails' own marks."""
    return [mail["X-Assent-Entry"] for mail in smtpd.mails]


def once(connector, entries=CONSENT):
    return connector.push(Batch("acme", "consent", entries))


def code_of(connector):
    with pytest.raises((TransientError, SuspendedError)) as raised:
        once(connector)
    return type(raised.value), raised.value.code


def with_journal(connect, root, settings, **changed):
    connector = connect(Directory(root), journal=Journal(replace(settings, **changed)))
    connector.prepare()
    return connector


def test_each_entry_is_a_mail_over_tls_and_the_record_of_them_verifies(mailed, smtpd, root):
    receipts = push(mailed, CONSENT)
    mailed.close(state(make_ledger("acme", 8), lanes=[Lane.CONSENT]))

    assert sent(smtpd) == [*IDS, None]
    assert set(smtpd.sessions) == {"tls"}
    assert [mail["Message-ID"] for mail in smtpd.mails[:-1]] == [f"<{id}@assent.invalid>" for id in IDS]
    assert {one.remote_id for one in receipts} == {"acme/consent/000000000000.segment.jsonl"}
    assert smtpd.mails[-1]["X-Assent-Kind"] == "manifest"
    [attached] = smtpd.mails[-1].iter_attachments()
    assert attached.get_content() == (root / "acme/000000000000.manifest.jsonl").read_bytes()
    assert verify_archive(root).flaws == []


def test_a_250_that_is_lost_after_data_gives_a_second_mail_of_the_same_bytes_and_id(mailed, smtpd):
    smtpd.fail("ok", "lost")

    first = once(mailed)
    rest = once(mailed, CONSENT[1:])

    assert smtpd.faults_left == []
    assert [type(one) for one in (*first, *rest)] == [Receipt] * 4
    assert sent(smtpd) == [IDS[0], IDS[1], IDS[1], IDS[2], IDS[3]]
    assert smtpd.raw[1] == smtpd.raw[2]
    assert [one.pos for one in mailed.find("acme", "consent", 0, 9)] == [one.pos for one in CONSENT]


@pytest.mark.parametrize("fault", ["mail451", "451"])
def test_a_4xx_is_nobodys_fault_and_tried_again(mailed, smtpd, fault):
    smtpd.fail(fault)

    assert code_of(mailed) == (TransientError, "archive_busy")
    assert smtpd.faults_left == []
    assert [type(one) for one in once(mailed)] == [Receipt] * 4
    assert sent(smtpd) == IDS


def test_a_4xx_in_the_middle_settles_those_before_it(mailed, smtpd):
    smtpd.fail("ok", "ok", "452")

    assert [type(one) for one in once(mailed)] == [Receipt] * 2
    assert [type(one) for one in once(mailed, CONSENT[2:])] == [Receipt] * 2
    assert sent(smtpd) == IDS


def test_a_5xx_to_one_mail_is_that_entrys_dead_letter_and_the_next_go_on(mailed, smtpd):
    smtpd.fail("ok", "554")

    outcomes = once(mailed)
    rest = once(mailed, CONSENT[2:])

    assert [type(one) for one in outcomes] == [Receipt, Refusal]
    assert outcomes[1].code == "journal_554"
    assert [type(one) for one in rest] == [Receipt] * 2


def test_a_mail_that_is_too_large_is_refused_before_it_is_sent(mailed, smtpd):
    small, large = lane_of(make_ledger("acme", 3), Lane.CONSENT), make_ledger("acme", 2, text="x" * 3_000_000)
    outcomes = once(mailed, [lane_of(large, Lane.CONSENT)[0], *small[1:]])

    assert [(type(one), one.code) for one in outcomes] == [(Refusal, "journal_552")]
    assert smtpd.raw == []


def test_an_address_that_is_refused_waits_for_a_person(mailed, smtpd):
    smtpd.fail("rcpt550")

    assert code_of(mailed) == (SuspendedError, "archive_refused")
    assert smtpd.raw == []


def test_nothing_is_sent_in_the_clear_where_starttls_is_required(tmp_path, connect, root, journal_settings):
    (tmp_path / "plain").mkdir()
    plain = SmtpServer(tmp_path / "plain", free_port(), "none")
    plain.start()
    try:
        strict = with_journal(connect, root, journal_settings, port=plain.port)
        told = code_of(strict)
        preflight = strict.check()
    finally:
        plain.stop()

    assert told == (SuspendedError, "archive_no_tls")
    assert "nothing was sent in the clear" in preflight[-1].advice
    assert plain.raw == []
    assert not (plain.folder / "sessions").exists()


def test_another_certificate_a_wrong_password_and_no_server_are_told_apart(connect, root, journal_settings, smtpd):
    assert code_of(with_journal(connect, root, journal_settings, ca_bundle=None)) == (
        SuspendedError, "archive_certificate",
    )  # fmt: skip
    assert code_of(with_journal(connect, root, journal_settings, password="wrong")) == (
        SuspendedError, "archive_forbidden",
    )  # fmt: skip
    smtpd.stop()
    assert code_of(with_journal(connect, root, journal_settings)) == (TransientError, "archive_away")


def test_a_cut_connection_anywhere_loses_no_entry(connect, root, journal_settings, smtpd, wire):
    between = wire(smtpd.port)
    archive = with_journal(connect, root, journal_settings, port=between.port)
    entries = lane_of(make_ledger("acme", 12), Lane.CONSENT)

    left, rounds = entries, 0
    while left:
        if rounds < 4:
            between.cut_after(2_000 + 700 * rounds)
        rounds += 1
        try:
            left = left[len(once(archive, left)) :]
        except TransientError:
            continue

    assert between.cuts == 4
    assert list(dict.fromkeys(sent(smtpd))) == [one.id for one in entries]
    assert [one.pos for one in archive.find("acme", "consent", 0, 99)] == [one.pos for one in entries]


def test_no_mail_goes_out_on_top_of_a_damaged_record(mailed, smtpd, root, connect, journal_settings):
    push(mailed, CONSENT[:2])
    segment = root / "acme/consent/000000000000.segment.jsonl"
    segment.write_bytes(segment.read_bytes()[:-40])

    with pytest.raises(SuspendedError) as raised:
        once(with_journal(connect, root, journal_settings), CONSENT[2:])

    assert raised.value.code == "archive_damaged"
    assert sent(smtpd) == IDS[:2]

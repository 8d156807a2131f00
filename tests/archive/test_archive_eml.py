"""The mail of one entry: what a supervisor reads, what an archive indexes, and no word of a stranger bends it."""

import json
import re
from email import message_from_bytes, policy
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.archive.eml import Form, eml
from consent.canonical import base64url
from consent.entry import Entry, entry_json, seal
from consent.kinds import LANE_OF, Kind
from consent.values import Record

AT = 1_795_428_000_123_456  # 2026-11-23T10:00:00.123456Z


def entry(kind=Kind.MESSAGE, facts=None, conversation="c0ffee", seq=5, **values):
    known = {"contact": "+14045550123", "line": "+14155550100", "employee_name": "Ann Lee", "text": "STOP"} | values
    record = Record(kind, AT, facts or {"channel": "sms", "sender": "contact", "verdict": "consumed"}, known,
                    conversation=conversation, version=3)  # fmt: skip
    return seal(record, "acme", seq, 2, AT + 400_000, bytes(range(16)) * 8)


def read(mail):
    return message_from_bytes(mail, policy=policy.default)


def parts(mail):
    """Return the text that a person reads, and the attached record."""
    message = read(mail)
    [record] = list(message.iter_attachments())
    return message.get_body(("plain",)).get_payload(decode=True).decode(), record.get_content()


def head_of(mail):
    return mail.partition(b"\r\n\r\n")[0].decode("ascii").split("\r\n")


def test_it_says_who_when_in_two_clocks_the_words_and_what_was_decided():
    said = entry(text="Stop texting me!")
    decided = entry(
        Kind.DECISION, {"channel": "sms", "decision": "opted_out", "before": "opted_in", "after": "opted_out"}
    )
    sent = entry(
        Kind.AUTO_MESSAGE, text="[Auto Message] You're opted out.",
        facts={"channel": "sms", "to": "contact", "template": "mo.opted_out.contact", "template_version": 4},
    )  # fmt: skip

    words, _ = parts(eml(said, Form(time_zone="America/New_York")))
    outcome, _ = parts(eml(decided))
    automatic, _ = parts(eml(sent))

    assert words.endswith("to the end of this part (16 characters):\r\n\r\nStop texting me!")
    assert "2026-11-23T10:00:00.123456Z" in words
    assert "2026-11-23 05:00:00 EST (America/New_York)" in words
    assert "Ann Lee" in words
    assert "+14045550123" in words
    assert "before: opted_in, after: opted_out" in outcome
    assert "mo.opted_out.contact, version 4" in automatic
    assert automatic.endswith("[Auto Message] You're opted out.")
    assert (read(eml(said))["From"].addresses[0].addr_spec, read(eml(said))["To"].addresses[0].display_name) == (
        "14045550123@assent.invalid", "Ann Lee",
    )  # fmt: skip
    assert read(eml(said))["Date"].datetime.isoformat() == "2026-11-23T10:00:00+00:00"


def test_the_record_is_attached_byte_for_byte_and_its_hash_stands_in_the_head():
    one = entry(text="line one\nline two\r\nthree\rfour")

    mail = eml(one)
    _, record = parts(mail)

    assert record == entry_json(one)
    assert read(mail)["X-Assent-SHA256"] == base64url(sha256(record).digest())
    assert sha256(record).hexdigest() in parts(mail)[0]
    assert json.loads(record)["id"] == "acme-000000000005" == read(mail)["X-Assent-Entry"]


def test_a_conversation_is_one_thread_and_each_entry_has_an_id_of_its_own():
    first, second, other = entry(seq=5), entry(seq=6), entry(seq=7, conversation="other")
    mails = [read(eml(one, Form("ledger.bank.example"))) for one in (first, second, other)]

    assert [mail["Message-ID"] for mail in mails] == [f"<acme-00000000000{n}@ledger.bank.example>" for n in (5, 6, 7)]
    assert mails[0]["References"] == mails[1]["References"] == "<c0ffee@ledger.bank.example>"
    assert mails[2]["References"] != mails[0]["References"]
    assert "References" not in read(eml(entry(conversation=None)))


HOSTILE = {
    "emoji": "👍🏽 🎉 family 👨‍👩‍👧", "right to left": "مرحبا — שלום STOP \u202eexe", "nul": "a\x00b\x07\x1b[31m",
    "blank": "",
    "lines": "one\ntwo\r\nthree\rfour\u2028five\n.\n..\nFrom me", "spaces": "  a \t \n  b  ",
    "headers": "Hi\r\nBcc: evil@example.com\r\n\r\n--boundary--", "megabyte": "x" * 1_000_000,
    "wide megabyte": "👋" * 250_000, "equals": "=3D = =\n=20", "half": "caf\u00e9 \ufffd",
}  # fmt: skip


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE.keys())
def test_any_text_comes_out_exactly_in_ascii_lines_that_every_server_takes(words):
    one = entry(text=words)

    mail = eml(one)
    told, record = parts(mail)

    assert mail.isascii()
    assert max(map(len, mail.split(b"\r\n"))) <= 998
    assert b"\n" not in mail.replace(b"\r\n", b"")
    assert b"\r" not in mail.replace(b"\r\n", b"")
    assert told.endswith(f"to the end of this part ({len(words)} characters):\r\n\r\n{words}")
    assert record == entry_json(one)
    assert "Bcc" not in read(mail)


NAMES = (
    "Ann\r\nBcc: evil@example.com", "Ann\nSubject: owned", 'A"n\\n <evil@example.com>', "=?utf-8?q?owned?=", "",
    "\u202eeelnnA", "Zoë Öz " * 40, "李" * 300, "a" * 2000, "Ann, Bob; Eve", "\x00\x07", "( comment )",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_never_becomes_a_header_an_address_or_a_line_of_ours(name):
    mail = eml(entry(contact_name=name, employee_name=name, text="Hi"))
    message = read(mail)

    assert set(message.keys()) == set(read(eml(entry(text="Hi"))).keys())
    assert message["Subject"] == read(eml(entry(text="Hi")))["Subject"]
    assert [one.addr_spec for one in message["From"].addresses] == ["14045550123@assent.invalid"]
    assert [one.addr_spec for one in message["To"].addresses] == ["14155550100@assent.invalid"]
    assert max(map(len, head_of(mail))) <= 998
    told, _ = parts(mail)
    assert not re.search(r"(?m)^Bcc:|^Subject:", told)
    assert sum(line.startswith("Contact ") for line in told.splitlines()) == 1


facts = st.dictionaries(
    st.sampled_from(
        ["decision", "before", "after", "template", "template_version", "reason", "word", "channel", "flags"]
    ),
    st.one_of(st.text(max_size=90), st.integers(0, 2**50), st.lists(st.text(max_size=9), max_size=3)),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(st.sampled_from(Kind), facts, texts, texts)
def test_the_head_of_any_entry_has_ten_marks_at_most_each_on_one_line_of_78(kind, facts, name, words):
    mail = eml(entry(kind, facts, text=words, contact_name=name))
    marks = [line for line in head_of(mail) if line.startswith("X-")]

    assert 1 <= len(marks) <= 10
    assert all(len(line) <= 78 for line in marks)
    assert len({line.partition(":")[0] for line in marks}) == len(marks)
    assert not any(line.startswith((" ", "\t")) for line in head_of(mail) if "X-" in line)
    assert parts(mail)[1] == entry_json(entry(kind, facts, text=words, contact_name=name))
    assert read(mail).defects == []


@pytest.mark.parametrize("gone", ["values", "body"])
def test_what_was_erased_or_disposed_of_is_told_and_still_has_its_mail(gone):
    one = entry()
    left = Entry(
        one.organization, one.seq, one.lane, one.pos, one.kind, one.conversation, one.version, one.occurred_at,
        one.recorded_at, None if gone == "body" else one.body, None, one.leaf,
    )  # fmt: skip

    told, record = parts(eml(left))

    assert ("lawfully erased" if gone == "values" else "disposed of") in told
    assert "4045550123" not in eml(left).decode()
    assert record == entry_json(left)
    assert LANE_OF[Kind.MESSAGE] == "messages"


def test_the_same_entry_gives_the_same_bytes():
    assert eml(entry()) == eml(entry())

"""The automatic texts are the vendor's, byte for byte."""

import hashlib
import tomllib
from importlib.resources import files

import pytest

from consent.policy import Policy
from consent.templates import (
    DEFAULT_TEMPLATES,
    DEFAULT_TEXTS,
    EMPLOYEE_NAME,
    OPT_IN_TEXT,
    OPT_OUT_TEXT,
    ORGANIZATION,
    clean_name,
    render,
)

# Typed from the vendor's page, differing prefixes and missing blanks and full stops included.
VENDOR = {
    "mt.request.contact": "[Auto Message] You are trying to reach <Employee Name>. As per company policy, "
    "you must provide your consent in order for your message to be delivered. To opt in, reply YES. To opt out, reply STOP.",
    "mt.request.employee": "[Auto Message] A contact has attempted to send you a message. As per company policy, "
    "they have been sent a request to opt in. Once confirmed, you will be able to send/receive messages.",
    "mt.accepted.employee": "[Auto Message] Your Contact has opted in. You may continue to send/receive messages.",
    "mt.accepted.contact": "[Auto Message] Opt in confirmed. To opt out at any time, reply STOP.",
    "mt.rejected.employee": "[Auto Message] Your contact has opted out. No further messages can be sent to this contact "
    "until they have provided their consent again.",
    "mt.rejected.contact": "[Automated Message] Opt out confirmed. "
    "If you change your mind, please reply with a new message.",
    "mo.request.contact": "[Auto Message] <Employee Name> is trying to reach you. As per company policy, you must provide "
    "your consent to continue messaging. To Opt in, reply YES. To opt out, reply STOP.",
    "mo.request.employee": "[Automated Message]: Your contact has been sent a request to Opt-in. Once they accept, "
    "you will be able to message with your contact.",
    "mo.accepted.employee": "[Auto Message]: Your Contact has opted in. You may continue to send/receive messages.",
    "mo.accepted.contact": "[Auto Message]: Opt in confirmed. If you wish to opt out at any time, reply STOP",
    "mo.rejected.employee": "[Auto Message]:Your contact has opted out. No further messages can be sent to this contact "
    "until they have provided their consent again.",
    "mo.rejected.contact": "[Auto Message]: Opt out confirmed. "
    "If you change your mind, please reply with a new message.",
}
OWN = {"help.contact", "disclaimer.contact", "undeliverable.employee"}


@pytest.mark.parametrize("key", sorted(VENDOR))
def test_a_default_text_is_the_vendors_byte_for_byte(key):
    stored = tomllib.loads(files("consent").joinpath("default_templates.toml").read_text(encoding="utf-8"))
    family, step, to = key.split(".")

    assert stored[family][step][to]["text"].encode() == VENDOR[key].encode()
    assert DEFAULT_TEXTS[key] == VENDOR[key]


def test_there_are_twelve_texts_of_the_vendor_and_three_of_our_own():
    assert set(DEFAULT_TEXTS) == set(VENDOR) | OWN


@pytest.mark.parametrize("key", sorted(VENDOR))
def test_with_the_default_words_a_text_reads_as_the_vendor_wrote_it(key):
    policy = Policy("acme", "acme", "Acme Bank")
    values = {EMPLOYEE_NAME: EMPLOYEE_NAME, OPT_IN_TEXT: policy.opt_in("en"), OPT_OUT_TEXT: policy.opt_out("en")}

    template = policy.template(key, "en")

    assert render(template, values) == VENDOR[key]
    assert template.sha256 == hashlib.sha256(VENDOR[key].encode()).hexdigest()
    assert template.version == 0


def test_what_a_name_holds_is_never_read_as_a_placeholder():
    name = clean_name("<Organization>\x00 Ann\r\n<b>", "Acme Bank")

    text = render(DEFAULT_TEMPLATES["help.contact"], {EMPLOYEE_NAME: name, ORGANIZATION: "Acme <Opt-in Text>"})

    assert "You are texting with Organization Annb of Acme <Opt-in Text>." in text


@pytest.mark.parametrize("name", [None, "", "  ", "<>", "\x00\x01"])
def test_where_nothing_is_left_of_a_name_the_organization_is_named(name):
    assert clean_name(name, "Acme Bank") == "Acme Bank"

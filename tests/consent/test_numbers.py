"""One person is known under one key, whatever the form their number came in; what can't be read is refused."""

import phonenumbers
import pytest

from consent.numbers import NumberError, read_number, read_sender

SAME = [
    ("+14045550123", "US"),
    ("4045550123", "US"),
    ("14045550123", "US"),
    ("(404) 555-0123", "US"),
    ("+1 (404) 555.0123", "GB"),
    ("+1-404-555-0123", "MX"),
    ("  +1 404 555 0123\n", "US"),
    ("+1\u00a0404\u2011555\u20110123", "US"),
    ("\u202a+1 404 555 0123\u202c", "US"),
    ("＋１４０４５５５０１２３", "US"),
    ("４０４５５５０１２３", "US"),
    ("٤٠٤٥٥٥٠١٢٣", "US"),
    ("tel:+1-404-555-0123", "US"),
    ("TEL: 404 555 0123", "US"),
    ("sms:+14045550123", "US"),
    ("whatsapp:+14045550123", "FR"),
    ("011 1 404 555 0123", "US"),
    ("00 1 404 555 0123", "GB"),
]


@pytest.mark.parametrize(("raw", "region"), SAME)
def test_one_person_is_one_key_whatever_the_form(raw, region):
    assert read_number(raw, region) == "+14045550123"


@pytest.mark.parametrize(
    ("raw", "region"),
    [
        ("+525512345678", "US"),
        ("+5215512345678", "US"),
        ("+52 1 55 1234 5678", "US"),
        ("whatsapp:+5215512345678", "US"),
        ("5215512345678", "MX"),
        ("1 55 1234 5678", "MX"),
        ("55 1234 5678", "MX"),
        ("044 55 1234 5678", "MX"),
        ("045 55 1234 5678", "MX"),
        ("01 55 1234 5678", "MX"),
    ],
)
def test_every_form_a_mexican_mobile_ever_had_is_the_same_number(raw, region):
    assert read_number(raw, region) == "+525512345678"


@pytest.mark.parametrize(
    ("raw", "region", "number"),
    [
        ("020 7946 0123", "GB", "+442079460123"),
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("030/901820", "DE", "+4930901820"),
        ("06 1234 5678", "IT", "+390612345678"),
        ("11 15 2345 6789", "AR", "+5491123456789"),
        ("+54 11 15 2345 6789", "US", "+5491123456789"),
        ("+54 9 11 2345 6789", "US", "+5491123456789"),
        ("+800 1234 5678", "US", "+80012345678"),
        ("+1 999 555 0123", "US", "+19995550123"),  # a range that nobody was given yet
    ],
)
def test_a_number_without_its_country_code_is_read_in_the_organizations_region(raw, region, number):
    assert read_number(raw, region) == number


def test_an_argentine_mobile_and_the_landline_of_the_same_digits_are_two_numbers():
    assert read_number("+54 9 11 2345 6789", "US") != read_number("+54 11 2345 6789", "US")


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("", "no phone number"),
        ("+", "no phone number"),
        ("12", "too many or too few"),
        ("call me 4045550123", "no phone number"),
        ("4045550123 (cell)", "no phone number"),
        ("1-800-FLOWERS", "no phone number"),
        ("++14045550123", "no phone number"),
        ("4045550123+1", "no phone number"),
        ("sip:4045550123", "no phone number"),
        ("4045550123@example.com", "no phone number"),
        ("555-0123", "area code"),
        ("+1404555012", "too many or too few"),
        ("+140455501234", "too many or too few"),
        ("*67 404 555 0123", "no phone number"),
        ("00442079460123", "too many or too few"),
        ("+999 404 555 0123", "no phone number"),
        ("+14045550123 ext. 5", "extension"),
        ("+14045550123x5", "extension"),
        ("+14045550123;ext=5", "extension"),
        ("+14045550123,,5", "extension"),
        ("+14045550123#5", "extension"),
        ("(404) 555-0123 / (404) 555-0124", "no phone number"),
        ("\ud83d4045550123", "no phone number"),
        ("4" * 100_000, "no phone number"),
    ],
)
def test_what_cannot_be_read_is_refused_and_not_guessed_nor_quoted(raw, told):
    with pytest.raises(NumberError, match=told) as raised:
        read_number(raw, "US")

    assert "404" not in str(raised.value).replace("+14045550123", "")


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("723", "723"),
        ("72345", "72345"),
        ("723456", "723456"),
        (" ７２３４５ ", "72345"),
        ("sms:72345", "72345"),
        ("CHASE", "CHASE"),
        ("AT&T", "AT&T"),
        ("T-Mobile", "T-Mobile"),
        ("7Eleven", "7Eleven"),
        ("Café 24", "Café 24"),
        ("72", None),
        ("7234567", None),
        ("+72345", None),
        ("+14045550123", None),
        ("5550123x12", None),
        ("a sender with many letters", None),
        ("🙂", None),
        ("", None),
    ],
)
def test_short_codes_and_senders_with_a_letter_in_them_are_told_from_numbers(raw, kept):
    assert read_sender(raw) == kept


def test_an_american_number_that_comes_as_it_is_kept_is_what_the_library_makes_of_it():
    for area in range(200, 1_000):
        for rest in ("0000000", "5550123", "9119999"):
            given = f"+1{area}{rest}"
            parsed = phonenumbers.parse(given, "FR")

            assert phonenumbers.is_possible_number(parsed)
            assert phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == read_number(given, "FR")

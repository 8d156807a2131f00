"""Queries: the part of SOQL that is served, its pages, and its refusals."""

import pytest

from tests.salesforce_standin.documents.sample_world import OBJECT, V

LONG = f"SELECT Id FROM {OBJECT} WHERE Key__c IN ({','.join(['x' * 64] * 300)})"


@pytest.fixture
def rows(caller):
    caller.upsert(
        {"Key__c": "a", "Seq__c": 3, "Short__c": "Ann", "At__c": "2026-11-23T10:00:00Z", "Flag__c": True},
        {"Key__c": "b", "Seq__c": 1, "Short__c": "bob's", "At__c": "2026-11-24T10:00:00Z", "State__c": "opted_in"},
        {"Key__c": "c", "Seq__c": 2, "Day__c": "2026-11-23"},
    )


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(
    ("condition", "keys"),
    [
        ("Key__c = 'b'", "b"),
        ("Key__c = 'B'", ""),
        ("Short__c = 'ANN'", "a"),
        ("Short__c = 'bob\\'s'", "b"),
        ("Short__c != 'Ann'", "bc"),
        ("Short__c = null", "c"),
        ("Short__c LIKE 'a%'", "a"),
        ("Key__c IN ('a', 'c', 'x')", "ac"),
        ("Short__c NOT IN ('Ann')", "bc"),
        ("Seq__c >= 2 AND Seq__c < 3", "c"),
        ("Seq__c > 2 OR (Key__c = 'b' AND Flag__c = false)", "ab"),
        ("NOT (Seq__c > 2)", "bc"),
        ("NOT Short__c = 'Ann'", "bc"),
        ("At__c < 2026-11-23T12:00:00+01:00", "a"),
        ("At__c >= 2026-11-24T00:00:00Z", "b"),
        ("Day__c = 2026-11-23", "c"),
        ("Flag__c = TRUE", "a"),
        ("State__c = 'opted_in'", "b"),
        ("CreatedDate > 2020-01-01T00:00:00Z AND IsDeleted = false", "abc"),
    ],
)
def test_a_condition_finds_its_records(caller, condition, keys):
    assert "".join(caller.values("Key__c", condition)) == keys


@pytest.mark.usefixtures("rows")
def test_records_are_sorted_and_limited(caller):
    def keys(rest):
        return "".join(each["Key__c"] for each in caller.query(f"SELECT Key__c FROM {OBJECT} {rest}").json["records"])

    assert keys("ORDER BY Seq__c DESC LIMIT 2") == "ac"
    assert keys("ORDER BY Short__c DESC, Key__c") == "cba"
    assert keys("ORDER BY Short__c NULLS LAST") == "abc"


@pytest.mark.usefixtures("rows")
def test_a_record_is_answered_with_its_attributes_first(caller):
    answer = caller.query(f"SELECT Id, Seq__c, Name FROM {OBJECT} WHERE Key__c = 'a'").json
    record = answer["records"][0]

    assert {name: answer[name] for name in ("totalSize", "done")} == {"totalSize": 1, "done": True}
    assert list(record) == ["attributes", "Id", "Seq__c", "Name"]
    assert record["attributes"] == {"type": OBJECT, "url": f"{V}/sobjects/{OBJECT}/{record['Id']}"}
    assert record["Name"].startswith("S-0")
    assert caller.values("Key__c", f"Id = '{record['Id'][:15]}'") == ["a"]


@pytest.mark.usefixtures("rows")
def test_records_are_counted_and_summed_up(caller):
    caller.upsert({"Key__c": "d", "Short__c": "ann"})
    count = caller.query(f"SELECT COUNT() FROM {OBJECT} WHERE Seq__c > 1").json
    extremes = caller.query(f"SELECT COUNT(Id), MIN(Seq__c), MAX(At__c) FROM {OBJECT}").json["records"]
    doubles = caller.query(f"SELECT Short__c, COUNT(Id) FROM {OBJECT} GROUP BY Short__c HAVING COUNT(Id) > 1").json[
        "records"
    ]

    assert count == {"totalSize": 2, "done": True, "records": []}
    assert extremes == [
        {"attributes": {"type": "AggregateResult"}, "expr0": 4, "expr1": 1.0, "expr2": "2026-11-24T10:00:00.000+0000"}
    ]
    assert [(each["Short__c"].lower(), each["expr0"]) for each in doubles] == [("ann", 2)]


@pytest.fixture
def many_rows(caller):
    for first in range(0, 2200, 200):
        caller.upsert(*({"Key__c": f"{n:05}", "Seq__c": n} for n in range(first, first + 200)))


@pytest.mark.usefixtures("many_rows")
def test_pages_hold_2000_records_and_name_the_next(caller):
    first = caller.query(f"SELECT Key__c FROM {OBJECT} ORDER BY Key__c").json
    caller.call("DELETE", f"{V}/sobjects/{OBJECT}/Key__c/02199")
    second = caller.call("GET", first["nextRecordsUrl"]).json

    assert (first["totalSize"], first["done"], len(first["records"])) == (2200, False, 2000)
    assert first["nextRecordsUrl"].startswith(f"{V}/query/01g")
    assert first["nextRecordsUrl"].endswith("-2000")
    assert (second["totalSize"], second["done"], "nextRecordsUrl" in second) == (2200, True, False)
    assert [each["Key__c"] for each in second["records"]] == [f"{n:05}" for n in range(2000, 2199)]


@pytest.mark.usefixtures("many_rows")
def test_pages_are_smaller_where_the_request_or_the_org_wants_it(caller, control):
    soql = f"SELECT Key__c FROM {OBJECT}"

    asked = caller.query(soql, **{"Sforce-Query-Options": "batchSize=500"}).json
    tiny = caller.query(soql, **{"Sforce-Query-Options": "batchSize=1"}).json
    control.settings(page_rows=300)
    loaded = caller.query(soql).json

    assert [len(each["records"]) for each in (asked, tiny, loaded)] == [500, 200, 300]


@pytest.mark.usefixtures("many_rows")
def test_only_the_newest_ten_locators_are_remembered(caller):
    urls = [caller.query(f"SELECT Id FROM {OBJECT}").json["nextRecordsUrl"] for _ in range(11)]

    assert caller.call("GET", urls[0]).error == "INVALID_QUERY_LOCATOR"
    assert caller.call("GET", urls[1]).status == 200


def test_deleted_records_are_seen_by_query_all_only(caller):
    caller.upsert({"Key__c": "a"}, {"Key__c": "b"})
    caller.call("DELETE", f"{V}/sobjects/{OBJECT}/Key__c/a")

    everything = caller.call("GET", f"{V}/queryAll?q=SELECT+Key__c,IsDeleted+FROM+{OBJECT}+ORDER+BY+Key__c").json

    assert caller.values("Key__c") == ["b"]
    assert [(each["Key__c"], each["IsDeleted"]) for each in everything["records"]] == [("a", True), ("b", False)]


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("", "MALFORMED_QUERY"),
        ("SELECT", "MALFORMED_QUERY"),
        (f"SELECT FROM {OBJECT}", "MALFORMED_QUERY"),
        (f"SELECT Id FROM {OBJECT} WHERE", "MALFORMED_QUERY"),
        (f"SELECT Id FROM {OBJECT} WHERE Key__c", "MALFORMED_QUERY"),
        (f"SELECT Id FROM {OBJECT} WHERE Key__c = 'a", "MALFORMED_QUERY"),
        (f"SELECT Id FROM {OBJECT} WHERE Key__c = 'a\\q'", "MALFORMED_QUERY"),
        (f"SELECT Id FROM {OBJECT} WHERE Key__c = 'a' AND Seq__c = 1 OR Seq__c = 2", "MALFORMED_QUERY"),
        (f"SELECT Id FROM {OBJECT} LIMIT x", "MALFORMED_QUERY"),
        (f"SELECT Id FROM {OBJECT} OFFSET 5", "MALFORMED_QUERY"),
        (f"SELECT Id, COUNT(Key__c) FROM {OBJECT}", "MALFORMED_QUERY"),
        (f"SELECT (SELECT Id FROM Contacts) FROM {OBJECT}", "MALFORMED_QUERY"),
        (f"SELECT Id FROM {OBJECT}; DROP TABLE {OBJECT}", "MALFORMED_QUERY"),
        (f"SELECT Contact__r.Name FROM {OBJECT}", "INVALID_FIELD"),
        (f"SELECT Nowhere__c FROM {OBJECT}", "INVALID_FIELD"),
        (f"SELECT Id FROM {OBJECT} WHERE Text__c = 'a'", "INVALID_FIELD"),
        (f"SELECT Id FROM {OBJECT} ORDER BY Text__c", "INVALID_FIELD"),
        (f"SELECT Id FROM {OBJECT} WHERE Seq__c = 'a'", "INVALID_FIELD"),
        (f"SELECT Id FROM {OBJECT} WHERE Key__c = 1", "INVALID_FIELD"),
        (f"SELECT Id FROM {OBJECT} WHERE At__c = '2026-11-23T10:00:00Z'", "INVALID_FIELD"),
        (f"SELECT Id FROM {OBJECT} WHERE Id = 'short'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Nothing__c", "INVALID_TYPE"),
(LONG, "URI_TOO_LONG"),
    ],
)  # fmt: skip
def test_what_is_not_served_is_refused(caller, soql, code):
    answer = caller.query(soql)

    assert (answer.status, answer.error) == (414 if code == "URI_TOO_LONG" else 400, code)

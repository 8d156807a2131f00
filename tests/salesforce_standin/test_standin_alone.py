"""The stand-in is no mirror of our client: what it stands on, and what it says where it does not know."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.salesforce_standin.standin_world import DATA, ENTRY, KEY, PACKAGE, entry

STANDIN = PACKAGE.parent / "standin"


def imported(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, file
            yield node.module or ""


@pytest.mark.parametrize("file", sorted(STANDIN.glob("*.py")), ids=lambda file: file.name)
def test_the_stand_in_is_built_of_the_standard_library_and_two_libraries_for_keys(file):
    foreign = {
        each
        for each in imported(file)
        if each.partition(".")[0] not in {*sys.stdlib_module_names, "cryptography", "jwt"}
        and not each.startswith("connectors.salesforce.standin")
    }

    assert foreign == set()


def test_a_describe_tells_what_the_package_deploys_field_by_field(caller):
    files = (PACKAGE / "force-app/main/default/objects" / ENTRY / "fields").glob("*.field-meta.xml")
    described = {each["name"]: each for each in caller.call("GET", f"sobjects/{ENTRY}/describe").json["fields"]}

    assert {each.name.partition(".")[0] for each in files} == {name for name in described if name.endswith("__c")}
    key = described[KEY]
    assert [key[each] for each in ("type", "length", "externalId", "unique", "caseSensitive", "nillable")] == [
        "string", 64, True, True, True, False,
    ]  # fmt: skip
    assert [described["Text__c"][each] for each in ("type", "length", "filterable")] == ["textarea", 32768, False]
    assert (described["Name"]["autoNumber"], described["Name"]["createable"]) == (True, False)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "search?q=FIND"),
        ("POST", "jobs/ingest"),
        ("POST", "composite/graph"),
        ("PATCH", "composite/sobjects"),
        ("GET", f"composite/sobjects/{ENTRY}"),
        ("GET", "consent/action/email"),
        ("GET", "/services/data/v99.0/limits"),
        ("GET", "/services/data/v45.0/limits"),
        ("POST", "/services/Soap/u/62.0"),
    ],
)
def test_what_an_org_has_and_this_one_has_not_is_not_found(caller, method, path):
    answer = caller.call(method, path, None if method == "GET" else {})

    assert (answer.status, answer.code) == (404, "NOT_FOUND")


def test_what_is_refused_as_unserved_leaves_a_line_that_names_no_record(caller, capsys):
    caller.call("GET", "search/acme-000000000001")

    (line,) = [json.loads(each) for each in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["method"], line["path"]) == ("request.unserved", "GET", f"{DATA}search/…")


def test_a_method_that_no_org_takes_is_refused_with_those_that_it_does(caller):
    answer = caller.call("PUT", f"sobjects/{ENTRY}/{KEY}/acme-000000000001", {})

    assert (answer.status, answer.code) == (405, "METHOD_NOT_ALLOWED")


def test_a_body_may_come_in_pieces(caller, control):
    body = json.dumps({"records": [{"attributes": {"type": ENTRY}, **entry(1)}]}).encode()

    def pieces():
        yield body[:7]
        yield body[7:]

    token = f"Bearer {caller.login().json['access_token']}"
    path = f"{DATA}composite/sobjects/{ENTRY}/{KEY}"
    answer = caller.ask("PATCH", path, pieces(), Authorization=token, Content_Type="application/json")

    assert (answer.status, answer.json[0]["created"]) == (200, True)
    assert control.counts()[ENTRY] == 1


def test_the_standalone_command_explains_itself(capsys):
    from connectors.salesforce.standin.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    assert "--package" in capsys.readouterr().out


def test_a_stand_in_whose_folder_another_one_holds_does_not_start(org):
    state = str(Path(org.ca_file).parent)

    second = subprocess.run(
        [sys.executable, "-m", "connectors.salesforce.standin", "--package", str(PACKAGE), "--state", state,
         "--port", "0", "--control-port", "0"],
        cwd=PACKAGE.parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert second.returncode == 4
    assert json.loads(second.stderr)["event"] == "standin.refused"

"""The preflight: what it finds in an org, in the words of Salesforce's Setup."""

import json
import re
import shutil
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest

from connectors.salesforce import SalesforceSettings
from connectors.salesforce.connector import SalesforceConnector

PACKAGE = Path(str(files("connectors.salesforce") / "package"))
ENTRY_FIELDS = Path("force-app/main/default/objects/Assent_Entry__c/fields")


def test_an_org_with_the_package_is_well(salesforce):
    findings = salesforce.check()

    assert [each for each in findings if not each.ok] == []
    assert {"login", "Assent_Entry__c", "Assent_Sync_Run__c"} <= {each.subject for each in findings}


def test_what_kind_of_org_it_is_stands_beside_the_findings(salesforce):
    assert [each.advice for each in salesforce.check() if each.subject == "org"] == ["A sandbox, Developer Edition"]


def test_a_refused_login_is_the_finding(org, connect):
    findings = connect(client_id="wrong").check()

    assert [(each.subject, each.ok) for each in findings] == [("login", False)]
    assert "Consumer Key" in findings[0].advice


@pytest.mark.parametrize("wanted", ["99.0", "30.0"])
def test_a_version_of_the_api_that_the_org_has_not_is_the_finding_and_the_newest_is_named(org, connect, wanted):
    [login, version] = connect(api_version=wanted).check()

    assert (login.ok, version.subject, version.ok) == (True, "API version", False)
    assert re.fullmatch(rf"The org has no version {wanted} of the API: set `api_version` to \d\d\.0", version.advice)


def test_an_org_that_is_away_is_the_finding(org, salesforce):
    org.arm(route="describe", status=503, html=True, times=0)

    [wrong] = [each for each in salesforce.check() if not each.ok]
    assert (wrong.subject, wrong.advice) == ("connection", "Run it again later")


def test_a_low_allowance_is_found(org, salesforce):
    org.settings(quota_limit=1000, quota_used=980)

    assert "API calls of the last 24 hours" in [each.subject for each in salesforce.check() if not each.ok]


@pytest.fixture
def old_org(tmp_path):
    """Return a connector to an org that holds an older package: fields missing, shorter, of another type."""
    package = shutil.copytree(PACKAGE, tmp_path / "package")
    folder = package / ENTRY_FIELDS
    (folder / "Word__c.field-meta.xml").unlink()
    for name, before, after in (
        ("Text__c", r"<length>32768</length>", "<length>1000</length>"),
        ("Tier__c", r"<length>40</length>\s*(<required>.*</required>)\s*<type>Text</type>", r"\1<type>Checkbox</type>"),
        ("Entry_Id__c", r"<caseSensitive>true</caseSensitive>", "<caseSensitive>false</caseSensitive>"),
        ("Line__c", r"<unique>false</unique>", "<unique>true</unique>"),
    ):
        path = folder / f"{name}.field-meta.xml"
        path.write_text(re.sub(before, after, path.read_text()))
    (folder / "Region__c.field-meta.xml").write_text(
        '<CustomField xmlns="http://soap.sforce.com/2006/04/metadata"><fullName>Region__c</fullName>'
        "<label>Region</label><length>20</length><required>true</required><type>Text</type></CustomField>"
    )
    for path in package.rglob("*-meta.xml"):  # what names the field that is gone
        if path.name.startswith("Append_Only"):
            path.write_text(path.read_text().replace("    ISCHANGED(Word__c),\n", ""))
    ready = tmp_path / "ready.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "connectors.salesforce.standin", "--package", str(package), "--state",
         str(tmp_path / "state"), "--port", "0", "--ready-file", str(ready)],
        cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not ready.exists():
        assert process.poll() is None, "the stand-in ended before it was ready"
        time.sleep(0.02)
    address = json.loads(ready.read_text())
    connector = SalesforceConnector(
        SalesforceSettings(
            login_url=address["url"], client_id=address["client_id"], username=address["username"],
            private_key=Path(address["private_key_file"]).read_text(), ca_bundle=address["ca_file"],
        )
    )  # fmt: skip
    yield connector
    connector.shut()
    process.terminate()
    process.wait()


def test_an_org_with_an_older_package_is_told_what_to_mend(old_org):
    advice = {each.subject: each.advice for each in old_org.check() if not each.ok}

    changed = ("Word__c", "Text__c", "Tier__c", "Entry_Id__c", "Line__c", "Region__c")
    assert set(advice) == {f"Assent_Entry__c.{name}" for name in changed}
    assert "missing or hidden" in advice["Assent_Entry__c.Word__c"]
    assert "holds 1000 characters and must hold 32768" in advice["Assent_Entry__c.Text__c"]
    assert "type was changed" in advice["Assent_Entry__c.Tier__c"]
    assert "case-sensitive" in advice["Assent_Entry__c.Entry_Id__c"]
    assert "made unique" in advice["Assent_Entry__c.Line__c"]
    assert "don't fill is required" in advice["Assent_Entry__c.Region__c"]

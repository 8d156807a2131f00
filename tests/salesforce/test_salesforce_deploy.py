"""A deployment: sent, asked after, and told in words; the command line that does it."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.main import get_command

from connectors.salesforce.deploy import Failure, deploy
from connectors.salesforce.packaging import package_files, package_zip
from jobs.cli.main import app
from jobs.settings import SalesforceSettings
from sync.port import SuspendedError, TransientError

ROOT = Path(__file__).parents[2]
README = ROOT / "connectors" / "salesforce" / "README.md"
SECRET_WORDS = "Northwind merger"


def zip_of(content):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return made.getvalue()


def test_an_org_takes_the_package_and_is_asked_until_it_is_done(org, settings):
    seen = []

    ended = deploy(settings(), package_zip(), progress=seen.append)

    assert (ended.succeeded, ended.failed, ended.failures) == (True, 0, ())
    assert ended.deployed == ended.total > 90
    assert [each.state for each in seen][-2:] == ["InProgress", "Succeeded"]
    # What simple-salesforce leaves behind in its headers reaches nobody: the next calls are JSON again.
    assert {each["route"] for each in org.journal()["requests"]} == {"token", "metadata"}


def test_a_check_only_deployment_says_so_to_the_org(settings):
    assert deploy(settings(), package_zip(), check_only=True).succeeded


def test_each_component_that_is_refused_is_named_with_salesforces_own_words(settings):
    files = package_files()
    name = "objects/Assent_Entry__c.object"
    gone = re.sub(
        rb"    <fields>\n        <fullName>Word__c</fullName>.*?</fields>\n", b"", files[name], flags=re.DOTALL
    )

    ended = deploy(settings(), zip_of({**files, name: gone}))

    assert (ended.state, ended.failed) == ("Failed", len(ended.failures))
    assert Failure(
        "permissionsets/Assent_Auditor.permissionset", "PermissionSet",
        "In field: field - no CustomField named Assent_Entry__c.Word__c found",
    ) in ended.failures  # fmt: skip
    assert Failure(
        "package.xml", "CustomField", "An object 'Assent_Entry__c.Word__c' of type CustomField was named in "
        "package.xml, but was not found in zipped directory",
    ) in ended.failures  # fmt: skip


def test_a_file_that_is_no_xml_and_a_zip_without_a_manifest_are_named(settings):
    broken = deploy(settings(), zip_of({**package_files(), "tabs/Assent_Entry__c.tab": b"<CustomTab>"}))
    empty = deploy(settings(), zip_of({"readme.txt": b""}))

    assert [each.file for each in broken.failures] == ["tabs/Assent_Entry__c.tab"]
    assert [each.problem for each in empty.failures] == ["No package.xml found"]


def test_a_deployment_that_fails_as_a_whole_says_why(settings):
    ended = deploy(settings(), b"no zip")

    assert [(each.file, each.problem) for each in ended.failures] == [("", "INVALID_ZIP: the content is no zip")]


def test_an_expired_session_is_renewed_once_in_the_middle(org, settings):
    fault = org.arm(route="metadata", nth=2, expire_sessions=True)

    assert deploy(settings(), package_zip()).succeeded

    assert org.struck(fault) == 1
    assert [each["route"] for each in org.journal()["requests"]].count("token") == 2


def test_questions_that_stay_unanswered_for_a_while_end_no_deployment(org, settings):
    troubles = [{"status": 503, "html": True}, {"cut": "before"}, {"half": True}]
    faults = [org.arm(route="metadata", nth=nth, **trouble) for nth, trouble in enumerate(troubles, 2)]

    assert deploy(settings(), package_zip()).succeeded

    assert [org.struck(fault) for fault in faults] == [1, 1, 1]


REFUSALS = [
    ("INSUFFICIENT_ACCESS", "Modify Metadata Through Metadata API Functions"),
    ("INVALID_OPERATION", "Deployment Status"),
    ("UNSUPPORTED_API_VERSION", "api_version"),
    ("API_DISABLED_FOR_ORG", "no API"),
]


@pytest.mark.parametrize(("code", "told"), REFUSALS)
def test_a_refused_deployment_says_what_to_do_in_the_words_of_setup(org, settings, code, told):
    fault = org.arm(route="metadata", status=500, errorCode=code, message=SECRET_WORDS)

    with pytest.raises(SuspendedError) as refused:
        deploy(settings(), package_zip())

    assert org.struck(fault) == 1
    assert (refused.value.code, told in refused.value.advice) == (code, True)
    assert SECRET_WORDS not in str(refused.value)


def test_a_user_who_may_not_sign_in_is_told_so(settings):
    with pytest.raises(SuspendedError, match=r"pre-authorized.*and for a deployment the administrator's profile"):
        deploy(settings(username="nobody@example.com"), package_zip())


def test_an_org_that_is_away_is_told_from_one_that_refuses(org, settings):
    org.arm(route="metadata", status=503, html=True, times=0)

    with pytest.raises(TransientError, match="Run it again later"):  # a person started it: nothing tries it again
        deploy(settings(), package_zip())


def test_a_deployment_that_takes_too_long_goes_on_and_is_named(org, settings):
    fault = org.arm(route="metadata", nth=3, times=0, status=503)

    with pytest.raises(TransientError, match=r"0Af\w+ (isn't done yet and )?goes on"):
        deploy(settings(), package_zip(), patience=1)

    assert org.struck(fault)


# The command line


@pytest.fixture
def assent(org_address, org, tmp_path):
    """Run a command against the org, whose destination isn't switched on yet."""
    keys = ("client_id", "username")
    told = "".join(f'{key} = "{org_address[key]}"\n' for key in keys)
    (tmp_path / "settings.toml").write_text(
        '[destinations.salesforce]\nkind = "salesforce"\nenabled = false\n'
        f'login_url = "{org_address["url"]}"\n{told}'
        f'private_key_file = "{org_address["private_key_file"]}"\nca_bundle = "{org_address["ca_file"]}"\n'
    )

    def run(*arguments):
        environ = {name: value for name, value in os.environ.items() if not name.startswith("ASSENT_")}
        return subprocess.run(
            [sys.executable, "-c", "from jobs.cli.main import main; main()", *arguments], cwd=tmp_path,
            env=environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    return run


def test_the_package_is_written_as_it_would_be_deployed(assent, tmp_path):
    ended = assent("salesforce", "package", "-o", "assent.zip", "--json")

    told = json.loads(ended.stdout)
    assert (ended.returncode, told["file"], told["bytes"]) == (0, "assent.zip", len(package_zip()))
    assert (tmp_path / "assent.zip").read_bytes() == package_zip()
    assert assent("salesforce", "package", "-o", "nowhere/assent.zip").returncode == 2


def test_who_writes_the_package_is_told_how_salesforces_own_tool_deploys_a_zip_of_one_package(assent):
    told = assent("salesforce", "package", "-o", "assent.zip").stderr
    readme = (ROOT / "connectors/salesforce/README.md").read_text()

    for said, file in ((told, "assent.zip"), (readme, "assent-salesforce.zip")):
        assert f"sf project deploy start --metadata-dir {file} --single-package --target-org ALIAS" in said


def test_check_and_deploy_work_before_the_destination_is_switched_on(assent):
    checked, deployed = (
        assent("salesforce", "check", "--json"),
        assent("salesforce", "deploy", "--check-only", "--json"),
    )

    (findings,) = json.loads(checked.stdout)["destinations"]
    assert (checked.returncode, findings["name"], findings["ok"]) == (0, "salesforce", True)
    told = json.loads(deployed.stdout)
    assert (deployed.returncode, told["state"], told["check_only"], told["failures"]) == (0, "Succeeded", True, [])


def test_what_goes_wrong_ends_with_its_code_and_says_what_to_do(assent, org):
    refused = assent("salesforce", "deploy", "--username", "nobody@example.com")
    unknown = assent("salesforce", "check", "--destination", "mars")
    org.settings(quota_limit=1000, quota_used=980)
    low = assent("salesforce", "check")

    assert (refused.returncode, "pre-authorized" in refused.stderr) == (5, True)
    assert (unknown.returncode, "there are: salesforce" in unknown.stderr) == (2, True)
    assert (low.returncode, "Company Information" in low.stdout) == (3, True)
    assert "Traceback" not in refused.stderr + unknown.stderr + low.stderr


def test_the_commands_and_settings_that_the_guide_names_are_there():
    text = README.read_text()
    named = re.findall(r"(?:`|^)assent ((?:[a-z]+ ?)+)([^`\n]*)", text, re.MULTILINE)
    assert {("salesforce", verb) for verb in ("package", "check", "deploy")} <= {tuple(n.split()) for n, _ in named}

    for words, rest in named:
        command = get_command(app)
        for word in words.split():
            command = command.commands[word] if hasattr(command, "commands") else command
        options = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?:^| )(--?[a-z][a-z-]*)", rest)) <= options, words

    blocks = "".join(re.findall(r"```toml\n(.*?)```", text, re.DOTALL))
    settings = set(re.findall(r"^(?:# )?(\w+) = ", blocks, re.MULTILINE))
    assert {"client_id", "private_key_file", "client_secret_file"} <= settings <= SalesforceSettings.model_fields.keys()

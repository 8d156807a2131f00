"""The zip that is deployed: what Salesforce's own library makes of the same source, and the same bytes anywhere."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from connectors.salesforce.packaging import PACKAGE, package_files, package_zip
from tests.salesforce.converter.record import MODULES, RECORD, convert, digests, source_digest

ROOT = Path(__file__).parents[2]


def recorded():
    return json.loads(RECORD.read_text())


def test_what_salesforces_library_was_recorded_to_make_is_made_of_this_very_source():
    assert recorded()["source"] == source_digest(), "the package was changed: `make salesforce-conversion`"


# Recorded for everyone; where node is at hand the library itself is asked as well.
CONVERSIONS = {"recorded": lambda: recorded()["files"]} | ({"library": convert} if MODULES.is_dir() else {})


@pytest.mark.parametrize("conversion", CONVERSIONS.values(), ids=CONVERSIONS.keys())
def test_the_zip_holds_what_salesforces_own_library_makes_of_the_source(conversion):
    assert digests(package_files()) == conversion()


def test_the_comparison_tells_a_changed_file_and_forgives_an_order():
    files = package_files()
    name = "objects/Assent_Sync_Run__c.object"
    head, first, second, tail = _around_two_list_views(files[name].decode())

    swapped = {**files, name: (head + second + first + tail).encode()}
    changed = {**files, name: files[name].replace(b"Behind the ledger", b"Before the ledger")}

    assert swapped[name] != files[name]
    assert digests(swapped) == digests(files)
    assert digests(changed) != digests(files)


def _around_two_list_views(text):
    parts = text.split("    <listViews>\n")
    return parts[0], "    <listViews>\n" + parts[1], "    <listViews>\n" + parts[2], "    <listViews>\n" + parts[3]


def test_the_manifest_comes_first_and_stands_in_the_source_too():
    made = package_files()

    assert next(iter(made)) == "package.xml"
    assert (PACKAGE / "manifest" / "package.xml").read_bytes() == made["package.xml"]


def test_every_process_makes_the_same_bytes_without_a_time_in_them():
    code = "import sys; from connectors.salesforce.packaging import package_zip; sys.stdout.buffer.write(package_zip())"
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": "7"}, capture_output=True)

    assert other.stdout == package_zip()
    with zipfile.ZipFile(io.BytesIO(other.stdout)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == list(package_files())


@pytest.mark.parametrize("path", ["classes/Guess.cls-meta.xml", "objects/Assent_Entry__c/webLinks/Go.webLink-meta.xml"])
def test_a_component_of_another_kind_is_refused_and_never_left_out(tmp_path, path):
    package = shutil.copytree(PACKAGE, tmp_path / "package")
    stranger = package / "force-app" / "main" / "default" / path
    stranger.parent.mkdir(parents=True)
    stranger.write_text('<ApexClass xmlns="http://soap.sforce.com/2006/04/metadata"/>')

    with pytest.raises(ValueError, match=stranger.name):
        package_files(package)

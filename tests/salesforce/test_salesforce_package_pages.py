"""What people see and may do: views, pages, reports and permissions name only what the package holds."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from lxml import etree

from connectors.salesforce import fields as table

SOURCE = Path(str(files("connectors.salesforce") / "package" / "force-app" / "main" / "default"))
METADATA = "http://soap.sforce.com/2006/04/metadata"
KEYS = {table.ENTRY_OBJECT: table.ENTRY_KEY, table.RUN_OBJECT: table.RUN_KEY}
FORMULAS = {"Asked_Sequence__c", "Settled_Sequence__c", "Owed__c"}
LINKS = {"Contact__c", "Lead__c"}
# Standard ones of every custom object, as each kind of file calls them.
STANDARD = {"Name", "OwnerId", "CreatedById", "LastModifiedById", "CreatedDate", "LastModifiedDate"}


def tag(name):
    return f"{{{METADATA}}}{name}"


def text(element, path):
    return element.findtext("/".join(tag(part) for part in path.split("/")))


def texts(element, path):
    return [found.text for found in element.iterfind("/".join(tag(part) for part in path.split("/")))]


def every(pattern):
    """Return the roots of the files of that pattern, by path."""
    return {path: etree.parse(path).getroot() for path in sorted(SOURCE.glob(pattern))}


@pytest.fixture(scope="module")
def fields():
    return {name: {text(root, "fullName") for root in every(f"objects/{name}/fields/*.xml").values()} for name in KEYS}


# Views


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.listView-meta.xml")), ids=lambda p: f"{p.parts[-3]}-{p.stem}")
def test_list_views_name_only_fields_that_exist(fields, path):
    root = etree.parse(path).getroot()

    named = [*texts(root, "columns"), *texts(root, "filters/field")]

    assert set(named) <= fields[path.parts[-3]] | {"NAME"}
    assert len(texts(root, "columns")) <= 15
    assert len(text(root, "label")) <= 40
    assert path.name == f"{text(root, 'fullName')}.listView-meta.xml"


def test_the_views_that_an_auditor_opens_are_there():
    names = {path.name.partition(".")[0] for path in SOURCE.glob("objects/Assent_Entry__c/listViews/*")}

    assert {"All", "Opt_Outs", "Opt_Ins", "Opt_Outs_30_Days", "Auto_Messages", "Requests", "Reviews"} <= names


# Pages


@pytest.mark.parametrize("name", KEYS)
def test_the_page_of_a_record_shows_every_field_and_lets_nobody_type(fields, name):
    ((path, layout),) = every(f"layouts/{name}-*.layout-meta.xml").items()
    items = {text(item, "field"): text(item, "behavior") for item in layout.iter(tag("layoutItems"))}
    label = text(next(iter(every(f"objects/{name}/{name}.object-meta.xml").values())), "label")

    assert fields[name] <= items.keys() <= fields[name] | STANDARD
    # A layout of this name is the one that Salesforce itself made for the object.
    assert path.name == f"{name}-{label} Layout.layout-meta.xml"
    assert {field for field, behavior in items.items() if behavior == "Required"} == {KEYS[name]}
    # The owner isn't among what a layout may close: in no layout that Salesforce hands out is it read-only.
    assert {field for field, behavior in items.items() if behavior == "Edit"} == LINKS & fields[name] | {"OwnerId"}


def test_an_entrys_page_reads_as_a_story():
    (layout,) = every("layouts/Assent_Entry__c-*.layout-meta.xml").values()

    story = texts(layout, "layoutSections/label")

    assert story[:6] == [
        "What happened", "Between whom", "What was said", "How it was read", "What it changed", "How it is proved",
    ]  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_a_record_opens_on_its_own_page_with_its_own_highlights(fields, name):
    (root,) = every(f"objects/{name}/{name}.object-meta.xml").values()
    (compact,) = every(f"objects/{name}/compactLayouts/*.xml").values()
    page = etree.parse(SOURCE / "flexipages" / f"{text(root, 'actionOverrides/content')}.flexipage-meta.xml").getroot()

    assert (text(page, "sobjectType"), text(page, "type")) == (name, "RecordPage")
    assert [text(root, f"actionOverrides/{each}") for each in ("actionName", "type")] == ["View", "Flexipage"]
    assert text(root, "compactLayoutAssignment") == text(compact, "fullName")
    assert set(texts(compact, "fields")) <= fields[name]
    assert len(texts(compact, "fields")) <= 10
    assert set(texts(root, "searchLayouts/searchResultsAdditionalFields")) <= fields[name]
    identifiers = [found.text for found in page.iter(tag("identifier"))]
    assert len(set(identifiers)) == len(identifiers)


# Reports


def test_the_report_type_offers_every_field(fields):
    (root,) = every("reportTypes/Assent_Entries.reportType-meta.xml").values()

    offered = texts(root, "sections/columns/field")

    assert text(root, "baseObject") == table.ENTRY_OBJECT
    assert set(texts(root, "sections/columns/table")) == {table.ENTRY_OBJECT}
    assert fields[table.ENTRY_OBJECT] <= set(offered) <= fields[table.ENTRY_OBJECT] | STANDARD
    assert len(set(offered)) == len(offered)


REPORTS = sorted(SOURCE.glob("reports/Assent/*.report-meta.xml"))


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.name.partition(".")[0])
def test_a_report_names_only_what_its_type_offers(path):
    root = etree.parse(path).getroot()
    (kind,) = every("reportTypes/Assent_Entries.reportType-meta.xml").values()
    offered = {f"{table.ENTRY_OBJECT}${field}" for field in texts(kind, "sections/columns/field")}
    formulas = set(texts(root, "aggregates/developerName"))

    named = [
        *texts(root, "columns/field"), *texts(root, "filter/criteriaItems/column"), *texts(root, "groupingsDown/field"),
        *texts(root, "sortColumn"), *texts(root, "timeFrameFilter/dateColumn"), *texts(root, "chart/groupingColumn"),
        *texts(root, "aggregates/downGroupingContext"),
    ]  # fmt: skip

    assert text(root, "reportType") == "Assent_Entries__c"
    assert set(named) <= offered
    # A report can't both group by a field and show it.
    assert not set(texts(root, "groupingsDown/field")) & set(texts(root, "columns/field"))
    assert set(texts(root, "groupingsDown/sortByName")) <= formulas
    for formula in texts(root, "aggregates/calculatedFormula"):
        summed = set(re.findall(r"Assent_Entry__c\.(\w+):MAX", formula))
        assert {f"{table.ENTRY_OBJECT}${field}" for field in summed} <= set(texts(root, "columns/field"))
    assert len(text(root, "name")) <= 40
    assert len(text(root, "description")) <= 255


def test_the_reports_that_an_auditor_asks_for_are_there_in_a_folder_that_nobody_edits():
    assert {path.name.partition(".")[0] for path in REPORTS} == {
        "Opt_Outs_by_Day", "Opt_Outs_by_Employee", "Requests_without_Answer", "Auto_Message_Texts", "Contact_History",
        "Records_Held",
    }  # fmt: skip
    (folder,) = every("reports/Assent.reportFolder-meta.xml").values()
    assert (text(folder, "accessType"), text(folder, "publicFolderAccess")) == ("Public", "ReadOnly")


# Permissions


def test_the_auditor_reads_everything_and_changes_nothing(fields):
    (root,) = every("permissionsets/Assent_Auditor.permissionset-meta.xml").values()

    # Salesforce refuses permissions on a required field: everyone who sees the object sees it.
    assert set(texts(root, "fieldPermissions/field")) == {
        f"{name}.{field}" for name, own in fields.items() for field in own - {KEYS[name]}
    }
    assert set(texts(root, "fieldPermissions/readable")) == {"true"}
    assert set(texts(root, "fieldPermissions/editable")) == {"false"}
    for each in root.iter(tag("objectPermissions")):
        assert (text(each, "allowRead"), text(each, "viewAllRecords")) == ("true", "true")
        assert {text(each, verb) for verb in ("allowCreate", "allowEdit", "allowDelete", "modifyAllRecords")} == {
            "false"
        }
    assert texts(root, "userPermissions/name") == ["RunReports"]


def test_the_integration_user_creates_and_edits_what_we_send_and_never_deletes(fields):
    (root,) = every("permissionsets/Assent_Integration.permissionset-meta.xml").values()

    assert set(texts(root, "fieldPermissions/field")) == {
        f"{name}.{field}" for name, own in fields.items() for field in own - {KEYS[name]} - FORMULAS - LINKS
    }
    for each in root.iter(tag("objectPermissions")):
        assert {text(each, verb) for verb in ("allowCreate", "allowEdit", "allowRead")} == {"true"}
        assert {text(each, verb) for verb in ("allowDelete", "modifyAllRecords")} == {"false"}
    assert texts(root, "userPermissions/name") == ["ApiEnabled"]
    assert texts(root, "applicationVisibilities/application") == texts(root, "tabSettings/tab") == []


def test_permission_sets_tabs_and_the_app_name_only_what_the_package_holds():
    tabs = {path.name.removesuffix(".tab-meta.xml") for path in SOURCE.glob("tabs/*")}
    apps = {path.name.removesuffix(".app-meta.xml") for path in SOURCE.glob("applications/*")}

    (app,) = every("applications/*.app-meta.xml").values()

    assert tabs == set(KEYS)
    assert set(texts(app, "tabs")) == tabs | {"standard-report"}
    for root in every("permissionsets/*.xml").values():
        assert set(texts(root, "objectPermissions/object")) == set(KEYS)
        assert set(texts(root, "applicationVisibilities/application")) <= apps
        assert set(texts(root, "tabSettings/tab")) <= tabs

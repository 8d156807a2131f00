"""The package: every file is what Salesforce's metadata schema allows, and names only what exists."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
import simple_salesforce
from lxml import etree

from connectors.salesforce import fields as table
from connectors.salesforce.errors import Ending, understand
from connectors.salesforce.normalize import FieldType

PACKAGE = Path(str(files("connectors.salesforce") / "package"))
SOURCE = PACKAGE / "force-app" / "main" / "default"
METADATA = "http://soap.sforce.com/2006/04/metadata"
XSD = "http://www.w3.org/2001/XMLSchema"
FILES = sorted(SOURCE.rglob("*-meta.xml"))
TYPES = {FieldType.LINE: "Text", FieldType.PARAGRAPH: "LongTextArea", FieldType.NUMBER: "Number",
         FieldType.MOMENT: "DateTime", FieldType.LINK: "Url"}  # fmt: skip
# What the org itself fills: links that people or a later step set, and formulas.
LINKS = {"Contact__c": "Contact", "Lead__c": "Lead"}
FORMULAS = {"Asked_Sequence__c", "Settled_Sequence__c", "Owed__c"}
OBJECTS = {
    table.ENTRY_OBJECT: (table.ENTRY_FIELDS, table.ENTRY_KEY),
    table.RUN_OBJECT: (table.RUN_FIELDS, table.RUN_KEY),
}


def tag(name):
    return f"{{{METADATA}}}{name}"


def text(element, name):
    found = element.find(tag(name))
    return None if found is None else found.text


@pytest.fixture(scope="module")
def schema():
    """The schema inside the metadata WSDL, with a root element for each type of file that the package holds."""
    wsdl = etree.parse(Path(simple_salesforce.__file__).with_name("metadata.wsdl"))
    xsd = next(each for each in wsdl.iter(f"{{{XSD}}}schema") if each.get("targetNamespace") == METADATA)
    for name in sorted({etree.parse(path).getroot().tag for path in FILES}):
        etree.SubElement(xsd, f"{{{XSD}}}element", name=etree.QName(name).localname,
                         type=f"tns:{etree.QName(name).localname}")  # fmt: skip
    return etree.XMLSchema(etree.fromstring(etree.tostring(xsd)))


@pytest.fixture(scope="module")
def fields():
    """The fields of each object of the package: {object: {field: element}}."""
    return {
        name: {text(root, "fullName"): root for root in roots(f"objects/{name}/fields/*.field-meta.xml")}
        for name in OBJECTS
    }


def roots(pattern):
    return [etree.parse(path).getroot() for path in sorted(SOURCE.glob(pattern))]


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_every_file_is_valid_by_the_metadata_schema(schema, path):
    document = etree.parse(path)

    assert schema.validate(document), schema.error_log


def test_the_schema_refuses_a_wrong_type_and_an_unknown_element(schema):
    for wrong in ("<type>LongText</type>", "<lenght>5</lenght>", "<length>five</length>"):
        document = etree.fromstring(f'<CustomField xmlns="{METADATA}"><fullName>A__c</fullName>{wrong}</CustomField>')
        assert not schema.validate(document)


@pytest.mark.parametrize("name", OBJECTS)
def test_every_field_that_we_write_is_in_the_package_with_its_type_and_length(fields, name):
    mapped, _ = OBJECTS[name]

    declared = {
        field: (text(root, "type"), int(text(root, "length") or 0))
        for field, root in fields[name].items()
        if field not in LINKS.keys() | FORMULAS
    }

    expected = {f.name: (TYPES[f.type], f.length if f.type is not FieldType.LINK else 0) for f in mapped}
    assert declared == expected


@pytest.mark.parametrize("name", OBJECTS)
def test_the_external_id_is_unique_case_sensitive_and_the_only_required_field(fields, name):
    key = fields[name][OBJECTS[name][1]]

    assert [text(key, flag) for flag in ("unique", "caseSensitive", "externalId", "required")] == ["true"] * 4
    assert [each for each, root in fields[name].items() if text(root, "required") == "true"] == [OBJECTS[name][1]]


def test_what_reading_back_and_an_auditor_select_by_is_indexed_and_not_unique(fields):
    # "External IDs cause an index to be created on that field" (Best Practices for Large Data Volumes, "Indexes").
    for name in ("Pos__c", "Contact_Number__c"):
        root = fields["Assent_Entry__c"][name]
        assert (text(root, "externalId"), text(root, "unique")) == ("true", "false")


def test_an_entry_can_be_linked_to_a_contact_and_a_lead_and_outlives_both(fields):
    for name, to in LINKS.items():
        root = fields[table.ENTRY_OBJECT][name]
        assert [text(root, each) for each in ("type", "referenceTo", "relationshipName", "deleteConstraint")] == [
            "Lookup", to, "Assent_Entries", "SetNull",
        ]  # fmt: skip


@pytest.mark.parametrize("name", OBJECTS)
def test_formulas_name_only_fields_that_exist(fields, name):
    own = fields[name]

    for field in FORMULAS & own.keys():
        formula = text(own[field], "formula")
        assert set(re.findall(r"\w+__c", formula)) <= own.keys() - FORMULAS
        assert len(formula) <= 3900
    assert {field for field, root in own.items() if text(root, "formula")} == FORMULAS & own.keys()


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.field-meta.xml")), ids=lambda path: path.name)
def test_names_and_labels_fit_what_salesforce_allows(path):
    root = etree.parse(path).getroot()

    assert path.name == f"{text(root, 'fullName')}.field-meta.xml"
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,39}__c", text(root, "fullName"))
    assert len(text(root, "label")) <= 40
    assert len(text(root, "inlineHelpText")) <= 510
    assert int(text(root, "length") or 0) <= (255 if text(root, "type") == "Text" else 131072)


def test_a_changed_record_is_refused_and_the_same_one_passes_by_the_rules(fields):
    rules = {text(root, "fullName"): root for root in roots(f"objects/{table.ENTRY_OBJECT}/validationRules/*.xml")}
    own = fields[table.ENTRY_OBJECT]
    unprotectable = {name for name, root in own.items() if text(root, "type") == "LongTextArea"} | {"Portal_Link__c"}
    unprotectable |= LINKS.keys() | FORMULAS  # a link is no part of the entry, and a formula follows by itself

    watched = set()
    for root in rules.values():
        formula = text(root, "errorConditionFormula")
        watched |= set(re.findall(r"ISCHANGED\((\w+)\)", formula))
        assert formula.startswith("AND(\n  NOT(ISNEW())")
        assert len(formula) <= 3900
        assert len(text(root, "errorMessage")) <= 255
        fault = understand(None, "FIELD_CUSTOM_VALIDATION_EXCEPTION", text(root, "errorMessage"))
        assert fault.ending is Ending.TAMPER

    assert watched == set(own) - unprotectable

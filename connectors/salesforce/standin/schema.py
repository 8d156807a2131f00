"""The org's objects, read from an SFDX source package: what `deploy` would give a real org.

Shapes are those of the Metadata API Developer Guide, "CustomObject", "CustomField" and "ValidationRule",
in source format (Salesforce DX Developer Guide, "Salesforce DX Project Structure and Source Format").
What this org could not serve faithfully (an unknown field type, a formula function) stops the loading.
"""

import xml.etree.ElementTree as ET  # the package is our own file, not a stranger's
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from connectors.salesforce.standin.formula import Formula, FormulaError, parse_formula

_METADATA = "{http://soap.sforce.com/2006/04/metadata}"

#: Metadata type → type in a describe (Object Reference, "Primitive Data Types" and "Field Types").
DESCRIBE_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "Id": "id",
        "AutoNumber": "string",
        "Text": "string",
        "TextArea": "textarea",
        "LongTextArea": "textarea",
        "Number": "double",
        "DateTime": "datetime",
        "Date": "date",
        "Checkbox": "boolean",
        "Picklist": "picklist",
        "Lookup": "reference",
        "Phone": "phone",
        "Url": "url",
        "Email": "email",
    }
)

#: Length of the types that don't state one (Object Reference, "Field Types").
_LENGTHS = {"TextArea": 255, "Phone": 40, "Url": 255, "Email": 80, "Picklist": 255, "AutoNumber": 30, "Lookup": 18}


class SchemaError(Exception):
    """The package holds something that this org can't serve; the message names the file."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field, named as the API names it."""

    name: str
    label: str
    type: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    required: bool = False
    unique: bool = False
    case_sensitive: bool = False
    external_id: bool = False
    restricted: bool = False
    #: Values of a picklist: (name, label, is the default).
    values: tuple[tuple[str, str, bool], ...] = ()
    reference_to: str = ""
    relationship_name: str = ""
    default: str | float | None = None
    #: False where the API refuses it in a body: system fields, formulas, auto-numbers.
    writable: bool = True
    custom: bool = True

    @property
    def textual(self) -> bool:
        return self.type in {"Text", "TextArea", "LongTextArea", "Picklist", "Phone", "Url", "Email", "AutoNumber"}

    @property
    def filterable(self) -> bool:
        """SOQL and SOSL Reference, "WHERE": a long text area can neither be filtered nor sorted by."""
        return self.type != "LongTextArea"


@dataclass(frozen=True, slots=True)
class ValidationRule:
    """A rule that refuses a record when its condition comes out true."""

    name: str
    condition: Formula
    message: str
    display_field: str


@dataclass(frozen=True, slots=True)
class ObjectType:
    """One object with its fields, by API name in any case."""

    name: str
    label: str
    plural_label: str
    fields: Mapping[str, Field]
    rules: tuple[ValidationRule, ...] = ()
    #: `CE-{00000000}` where the name is an auto-number.
    name_format: str = ""
    #: First three characters of an Id where Salesforce fixes them; custom objects get theirs from the org.
    key_prefix: str = ""
    by_lower_name: Mapping[str, Field] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_lower_name", {name.lower(): each for name, each in self.fields.items()})

    def field(self, name: str) -> Field | None:
        """The field of that name; the API does not mind its case."""
        return self.fields.get(name) or self.by_lower_name.get(name.lower())


class Schema:
    """Objects by API name, whatever its case."""

    def __init__(self, objects: list[ObjectType]) -> None:
        self.objects: Mapping[str, ObjectType] = {each.name: each for each in objects}
        self._by_lower_name = {each.name.lower(): each for each in objects}

    def object(self, name: str) -> ObjectType | None:
        return self._by_lower_name.get(name.lower())

    def __iter__(self) -> Iterator[ObjectType]:
        return iter(self.objects.values())


def load_schema(package: Path) -> Schema:
    """Read every object of the package, and add the standard ones that a lookup or a check may ask for."""
    folder = package / "force-app" / "main" / "default" / "objects"
    if not folder.is_dir():
        raise SchemaError(f"{folder} is no folder: name the SFDX package with --package")
    custom = [_read_object(each) for each in sorted(folder.iterdir()) if each.is_dir() and each.name.endswith("__c")]
    schema = Schema([*_standard_objects(), *custom])
    for each in schema:
        for name, one in each.fields.items():
            if one.reference_to and schema.object(one.reference_to) is None:
                raise SchemaError(f"{each.name}.{name} refers to {one.reference_to}, which neither package nor org has")
    return schema


def _read_object(folder: Path) -> ObjectType:
    file = folder / f"{folder.name}.object-meta.xml"
    root = _parse(file)
    name_field = root.find(f"{_METADATA}nameField")
    if name_field is None:
        raise SchemaError(f"{file}: a custom object needs a nameField")
    auto_number = _text(name_field, "type") == "AutoNumber"
    fields = _system_fields(folder.name)
    fields["Name"] = Field(
        name="Name",
        label=_text(name_field, "label", "Name"),
        type="AutoNumber" if auto_number else "Text",
        length=80,
        required=not auto_number,
        writable=not auto_number,
        custom=False,
    )
    for each in sorted((folder / "fields").glob("*.field-meta.xml")):
        one = _read_field(each)
        fields[one.name] = one
    rules = []
    for each in sorted((folder / "validationRules").glob("*.validationRule-meta.xml")):
        rule = _read_rule(each, fields)
        if rule is not None:
            rules.append(rule)
    return ObjectType(
        name=folder.name,
        label=_text(root, "label", folder.name),
        plural_label=_text(root, "pluralLabel", folder.name),
        fields=fields,
        rules=tuple(rules),
        name_format=_text(name_field, "displayFormat", "{0}") if auto_number else "",
    )


def _read_field(file: Path) -> Field:
    root = _parse(file)
    name, kind = _text(root, "fullName"), _text(root, "type")
    if kind not in DESCRIBE_TYPES or kind in {"Id", "AutoNumber"}:
        raise SchemaError(f"{file}: fields of type {kind!r} are not served")
    formula = root.find(f"{_METADATA}formula") is not None
    value_set = root.find(f"{_METADATA}valueSet")
    unique = _flag(root, "unique")
    values = _values(value_set, file) if kind == "Picklist" else ()
    return Field(
        name=name,
        label=_text(root, "label", name),
        type=kind,
        length=int(_text(root, "length", str(_LENGTHS.get(kind, 0)))),
        precision=int(_text(root, "precision", "18")),
        scale=int(_text(root, "scale", "0")),
        required=_flag(root, "required"),
        unique=unique,
        case_sensitive=unique and _flag(root, "caseSensitive"),
        external_id=_flag(root, "externalId"),
        restricted=value_set is not None and _flag(value_set, "restricted"),
        values=values,
        reference_to=_text(root, "referenceTo", ""),
        relationship_name=f"{_text(root, 'relationshipName', name.removesuffix('__c'))}__r" if kind == "Lookup" else "",
        default=_default(root, kind, values, file),
        writable=not formula,
    )


def _values(value_set: ET.Element | None, file: Path) -> tuple[tuple[str, str, bool], ...]:
    definition = None if value_set is None else value_set.find(f"{_METADATA}valueSetDefinition")
    if definition is None:
        raise SchemaError(f"{file}: a picklist needs a valueSetDefinition; global value sets are not served")
    return tuple(
        (_text(each, "fullName"), _text(each, "label", _text(each, "fullName")), _flag(each, "default"))
        for each in definition.findall(f"{_METADATA}value")
        if _text(each, "isActive", "true") == "true"
    )


def _default(root: ET.Element, kind: str, values: tuple[tuple[str, str, bool], ...], file: Path) -> str | float | None:
    if kind == "Checkbox":
        return _text(root, "defaultValue", "false") == "true"
    if kind == "Picklist":
        return next((name for name, _, default in values if default), None)
    given = _text(root, "defaultValue", "")
    if not given:
        return None
    try:
        value = parse_formula(given, {}).evaluate(None, {})
    except FormulaError as error:
        raise SchemaError(f"{file}: {error}") from error
    return value if isinstance(value, (str, float)) else None


def _read_rule(file: Path, fields: Mapping[str, Field]) -> ValidationRule | None:
    root = _parse(file)
    if not _flag(root, "active"):
        return None
    try:
        condition = parse_formula(
            _text(root, "errorConditionFormula"), {name: one.type for name, one in fields.items()}
        )
    except FormulaError as error:
        raise SchemaError(f"{file}: {error}") from error
    return ValidationRule(
        name=_text(root, "fullName"),
        condition=condition,
        message=_text(root, "errorMessage"),
        display_field=_text(root, "errorDisplayField", ""),
    )


def _system_fields(object_name: str) -> dict[str, Field]:
    """Object Reference, "System Fields": every record has them, and no one may write them."""

    def system(name: str, label: str, kind: str, reference_to: str = "") -> Field:
        return Field(
            name=name,
            label=label,
            type=kind,
            length=18 if kind in {"Id", "Lookup"} else 0,
            reference_to=reference_to,
            relationship_name=name.removesuffix("Id") if reference_to else "",
            writable=False,
            custom=False,
        )

    fields = [
        system("Id", "Record ID", "Id"),
        system("IsDeleted", "Deleted", "Checkbox"),
        system("CreatedDate", "Created Date", "DateTime"),
        system("CreatedById", "Created By ID", "Lookup", "User"),
        system("LastModifiedDate", "Last Modified Date", "DateTime"),
        system("LastModifiedById", "Last Modified By ID", "Lookup", "User"),
        system("SystemModstamp", "System Modstamp", "DateTime"),
    ]
    if object_name.endswith("__c"):
        fields.append(system("OwnerId", "Owner ID", "Lookup", "User"))
    return {each.name: each for each in fields}


def _standard_objects() -> list[ObjectType]:
    """The few standard fields that a lookup, a check or a link asks for (Object Reference, "Standard Objects")."""

    def standard(name: str, plural: str, key_prefix: str, own: list[Field]) -> ObjectType:
        fields = _system_fields(name) | {each.name: each for each in own}
        return ObjectType(name=name, label=name, plural_label=plural, fields=fields, key_prefix=key_prefix)

    def text(name: str, length: int, kind: str = "Text", *, required: bool = False, writable: bool = True) -> Field:
        return Field(
            name=name, label=name, type=kind, length=length, required=required, writable=writable, custom=False
        )

    sandbox = Field(name="IsSandbox", label="Is Sandbox", type="Checkbox", writable=False, custom=False)
    active = Field(name="IsActive", label="Active", type="Checkbox", writable=False, custom=False)
    person = [text("FirstName", 40), text("LastName", 80, required=True), text("Email", 80, "Email")]
    phones = [text("Phone", 40, "Phone"), text("MobilePhone", 40, "Phone")]
    return [
        standard(
            "Organization",
            "Organizations",
            "00D",
            [text("Name", 80, writable=False), text("OrganizationType", 40, writable=False), sandbox],
        ),
        standard(
            "User", "Users", "005", [text("Username", 80, writable=False), text("Name", 121, writable=False), active]
        ),
        standard("Contact", "Contacts", "003", [*person, *phones, text("Name", 121, writable=False)]),
        standard(
            "Lead",
            "Leads",
            "00Q",
            [*person, *phones, text("Company", 255, required=True), text("Name", 121, writable=False)],
        ),
    ]


def _parse(file: Path) -> ET.Element:
    try:
        return ET.parse(file).getroot()  # noqa: S314 - see the import
    except (OSError, ET.ParseError) as error:
        raise SchemaError(f"{file} can't be read as metadata: {error}") from error


def _text(element: ET.Element, name: str, default: str | None = None) -> str:
    found = element.findtext(f"{_METADATA}{name}", default)
    if found is None:
        raise SchemaError(f"<{name}> is missing in <{element.tag.removeprefix(_METADATA)}>")
    return found


def _flag(element: ET.Element, name: str) -> bool:
    return _text(element, name, "false").strip() == "true"

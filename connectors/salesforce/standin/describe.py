"""What an org says of itself: versions, resources, limits, objects and their fields.

REST API Developer Guide, "Versions", "Resources by Version", "Limits", "Describe Global", "sObject Describe";
members as in DescribeSObjectResult and DescribeFieldResult (SOAP API Developer Guide).
"""

from connectors.salesforce.standin.rows import Rows
from connectors.salesforce.standin.schema import DESCRIBE_TYPES, Field, ObjectType, Schema

#: Collections upsert exists from 46.0 on; the guide is read as of 67.0.
_OLDEST, _NEWEST = 46, 67
_SOAP_TYPES = {"Number": "xsd:double", "Checkbox": "xsd:boolean", "DateTime": "xsd:dateTime", "Date": "xsd:date"}
_SOAP_TYPES |= {"Id": "tns:ID", "Lookup": "tns:ID"}


def serves(version: str) -> bool:
    """True for `v46.0` to `v67.0`."""
    number, _, minor = version.removeprefix("v").partition(".")
    return minor == "0" and number.isdigit() and _OLDEST <= int(number) <= _NEWEST


def versions() -> list[dict[str, str]]:
    """List what is served, as `{"label": "Winter '24", "url": "/services/data/v59.0", "version": "59.0"}`."""
    listed = []
    for number in range(_OLDEST, _NEWEST + 1):
        years, season = divmod(number - 59, 3)  # 59.0 was Winter '24
        label = f"{('Winter', 'Spring', 'Summer')[season]} '{24 + years}"
        listed.append({"label": label, "url": f"/services/data/v{number}.0", "version": f"{number}.0"})
    return listed


def resources(version: str) -> dict[str, str]:
    names = ("sobjects", "query", "queryAll", "limits", "composite")
    return {each: f"/services/data/{version}/{each}" for each in names}


def limits(limit: int, used: int) -> dict[str, dict[str, int]]:
    return {
        "DailyApiRequests": {"Max": limit, "Remaining": max(limit - used, 0)},
        "DailyBulkV2QueryJobs": {"Max": 10000, "Remaining": 10000},
        "DataStorageMB": {"Max": 1024, "Remaining": 1024},
        "FileStorageMB": {"Max": 1024, "Remaining": 1024},
    }


def all_objects(schema: Schema, rows: Rows, version: str) -> dict[str, object]:
    return {
        "encoding": "UTF-8",
        "maxBatchSize": 200,
        "sobjects": [describe_briefly(each, rows, version) for each in schema],
    }


def describe_briefly(kind: ObjectType, rows: Rows, version: str) -> dict[str, object]:
    base = f"/services/data/{version}/sobjects/{kind.name}"
    custom = kind.name.endswith("__c")
    editable = custom or "LastName" in kind.fields
    return {
        "createable": editable,
        "custom": custom,
        "customSetting": False,
        "deletable": editable,
        "keyPrefix": rows.prefix(kind),
        "label": kind.label,
        "labelPlural": kind.plural_label,
        "name": kind.name,
        "queryable": True,
        "retrieveable": True,
        "undeletable": False,
        "updateable": editable,
        "urls": {"describe": f"{base}/describe", "rowTemplate": f"{base}/{{ID}}", "sobject": base},
    }


def describe(kind: ObjectType, rows: Rows, schema: Schema, version: str) -> dict[str, object]:
    children = [
        {
            "childSObject": other.name,
            "field": one.name,
            "relationshipName": None if not one.custom else other.plural_label,
        }
        for other in schema
        for one in other.fields.values()
        if one.reference_to == kind.name
    ]
    fields = [_describe_field(each) for each in kind.fields.values()]
    return describe_briefly(kind, rows, version) | {
        "childRelationships": children,
        "fields": fields,
        "recordTypeInfos": [],
    }


def _describe_field(one: Field) -> dict[str, object]:
    numeric = one.type == "Number"
    return {
        "autoNumber": one.type == "AutoNumber",
        "byteLength": one.length * 3,
        "calculated": one.custom and not one.writable,
        "caseSensitive": one.case_sensitive,
        "createable": one.writable,
        "custom": one.custom,
        "defaultValue": one.default,
        "defaultedOnCreate": one.type in {"Checkbox", "AutoNumber"} or not one.writable or one.default is not None,
        "digits": 0,
        "externalId": one.external_id,
        "extraTypeInfo": "plaintextarea" if one.type in {"TextArea", "LongTextArea"} else None,
        "filterable": one.filterable,
        "groupable": one.filterable and not numeric and one.type != "DateTime",
        "idLookup": one.external_id or one.type == "Id",
        "label": one.label,
        "length": one.length,
        "name": one.name,
        "nameField": one.name == "Name",
        "nillable": not one.required and one.type not in {"Checkbox", "Id"} and (one.writable or one.custom),
        "picklistValues": [
            {"active": True, "defaultValue": default, "label": label, "validFor": None, "value": name}
            for name, label, default in one.values
        ],
        "precision": one.precision if numeric else 0,
        "referenceTo": [one.reference_to] if one.reference_to else [],
        "relationshipName": one.relationship_name or None,
        "restrictedPicklist": one.restricted,
        "scale": one.scale if numeric else 0,
        "soapType": _SOAP_TYPES.get(one.type, "xsd:string"),
        "sortable": one.filterable,
        "type": DESCRIBE_TYPES[one.type],
        "unique": one.unique,
        "updateable": one.writable,
    }

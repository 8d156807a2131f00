"""The package as Salesforce's Metadata API takes it: one zip, made from the SFDX source beside this file.

In source format an object is a folder of small files; in metadata format it is one file that holds them all
(Metadata API Developer Guide, "Deploying and Retrieving Metadata with the Zip File"). Everything else keeps its content
and loses the end of its name. The result is the same bytes wherever it is made.
"""

import io
import json
import xml.etree.ElementTree as ET  # the package is our own source, not a stranger's
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from zipfile import ZIP_STORED, ZipFile, ZipInfo

PACKAGE = Path(str(files("connectors.salesforce") / "package"))

_METADATA = "http://soap.sforce.com/2006/04/metadata"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say

# Suffix of a source file → type in the manifest.
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "app": "CustomApplication",
        "flexipage": "FlexiPage",
        "layout": "Layout",
        "permissionset": "PermissionSet",
        "report": "Report",
        "reportFolder": "Report",
        "reportType": "ReportType",
        "tab": "CustomTab",
    }
)
# Folder inside an object's → (suffix, type); in the order in which they are nested.
_PARTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "compactLayouts": ("compactLayout", "CompactLayout"),
        "fields": ("field", "CustomField"),
        "listViews": ("listView", "ListView"),
        "validationRules": ("validationRule", "ValidationRule"),
    }
)


def package_zip(package: Path = PACKAGE) -> bytes:
    """Return the zip that `deploy` sends, `package.xml` at its root.

    Raises ValueError for a source file of a kind that isn't known here.
    """
    content = package_files(package)
    made = io.BytesIO()
    # Stored, not deflated: another zlib would make other bytes of the same content.
    with ZipFile(made, "w", ZIP_STORED) as archive:
        for name, data in content.items():
            entry = ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return made.getvalue()


def package_files(package: Path = PACKAGE) -> dict[str, bytes]:
    """Return what stands in the zip, by path: `package.xml` first, then every component in order."""
    source = package / "force-app" / "main" / "default"
    content: dict[str, bytes] = {}
    members: dict[str, list[str]] = {}
    for folder in sorted((source / "objects").iterdir()):
        content[f"objects/{folder.name}.object"] = _object(folder, members)
    for path in sorted(source.rglob("*-meta.xml")):
        if path.is_relative_to(source / "objects"):
            continue
        name, suffix = path.name.removesuffix("-meta.xml").rsplit(".", 1)
        if suffix not in _TYPES:
            raise ValueError(f"{path}: components of this kind are not packaged")
        parent = path.parent.relative_to(source)
        # A folder of reports is named beside its folder, and without a suffix.
        target = parent / (f"{name}-meta.xml" if suffix == "reportFolder" else f"{name}.{suffix}")
        content[target.as_posix()] = path.read_bytes()
        members.setdefault(_TYPES[suffix], []).append("/".join((*parent.parts[1:], name)))
    return {"package.xml": _manifest(members, _version(package)), **dict(sorted(content.items()))}


def _object(folder: Path, members: dict[str, list[str]]) -> bytes:
    """Return an object with its fields, views, rules and compact layouts inside, and note their names."""
    own = folder / f"{folder.name}.object-meta.xml"
    root = ET.parse(own).getroot()  # noqa: S314 - see the import
    members.setdefault("CustomObject", []).append(folder.name)
    known = {own}
    for part, (suffix, kind) in _PARTS.items():
        for path in sorted((folder / part).glob(f"*.{suffix}-meta.xml")):
            child = ET.parse(path).getroot()  # noqa: S314
            child.tag = f"{{{_METADATA}}}{part}"
            root.append(child)
            known.add(path)
            members.setdefault(kind, []).append(f"{folder.name}.{path.name.removesuffix(f'.{suffix}-meta.xml')}")
    left = next((path for path in sorted(folder.rglob("*-meta.xml")) if path not in known), None)
    if left is not None:
        raise ValueError(f"{left}: components of this kind are not packaged")
    return _written(root)


def _manifest(members: Mapping[str, list[str]], version: str) -> bytes:
    root = ET.Element(f"{{{_METADATA}}}Package")
    for kind in sorted(members):
        types = ET.SubElement(root, f"{{{_METADATA}}}types")
        for name in sorted(members[kind]):
            ET.SubElement(types, f"{{{_METADATA}}}members").text = name
        ET.SubElement(types, f"{{{_METADATA}}}name").text = kind
    ET.SubElement(root, f"{{{_METADATA}}}version").text = version
    return _written(root)


def _version(package: Path) -> str:
    return str(json.loads((package / "sfdx-project.json").read_text())["sourceApiVersion"])


def _written(root: ET.Element) -> bytes:
    for element in root.iter():
        if len(element):
            element.text = None
        element.tail = None
    ET.indent(root, "    ")
    text: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True, default_namespace=_METADATA)
    return text + b"\n"

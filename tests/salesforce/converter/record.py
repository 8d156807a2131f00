"""Convert the package by Salesforce's own library, and write down what came out: `make salesforce-conversion`.

The record is compared everywhere with what we make of the same source; where node is at hand the conversion runs, too.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lxml import etree

from connectors.salesforce.packaging import PACKAGE

HERE = Path(__file__).parent
RECORD = HERE / "converted.json"
#: Where `make setup` puts the library, if npm can fetch it.
MODULES = Path(sys.prefix) / "converter" / "node_modules"


def convert() -> dict[str, str]:
    """Return a digest of each file that Salesforce's library makes of the package, by its path in the zip."""
    with tempfile.TemporaryDirectory() as output:
        subprocess.run(
            [shutil.which("node") or "node", str(HERE / "convert.cjs"), str(PACKAGE / "force-app"), output],
            env=os.environ | {"NODE_PATH": str(MODULES)}, check=True, timeout=120, capture_output=True,
        )  # fmt: skip
        found = [path for path in Path(output).rglob("*") if path.is_file()]
        return digests({path.relative_to(output).as_posix(): path.read_bytes() for path in found})


def digests(content: dict[str, bytes]) -> dict[str, str]:
    """Return a digest of what each file says; blanks don't count, nor the order of an object's parts."""
    return {name: hashlib.sha256(_meaning(data)).hexdigest() for name, data in sorted(content.items())}


def source_digest() -> str:
    """Return a digest of the source that was converted."""
    made = hashlib.sha256()
    for path in sorted((PACKAGE / "force-app").rglob("*-meta.xml")):
        made.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return made.hexdigest()


def _meaning(data: bytes) -> bytes:
    root = etree.fromstring(data, etree.XMLParser(remove_blank_text=True))
    for members in root.iter("{*}members"):
        members.text = members.text.rstrip("/")  # a folder of reports, as Salesforce's library names it
    for types in [root, *root.iter("{*}types")]:
        types[:] = sorted(types, key=lambda child: (child.tag, etree.tostring(child, method="c14n")))
    return etree.tostring(root, method="c14n")


if __name__ == "__main__":
    library = json.loads((HERE / "package.json").read_text())["dependencies"]
    RECORD.write_text(json.dumps({"by": library, "source": source_digest(), "files": convert()}, indent=1) + "\n")

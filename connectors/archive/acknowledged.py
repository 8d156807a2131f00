"""What an archive says it took: receipts that it writes, one a batch.

    {"format": "assent-receipt/1", "batch": "acme/consent/000000000000.segment", "sha256": "…of the ZIP",
     "items": [{"name": "eml/acme-000000000005.eml", "sha256": "…", "status": "archived", "reason": ""}]}

`archived` and `duplicate` are taken, `failed` and `excluded` are not; `unprocessed`, or not named, may come yet.
"""

from collections.abc import Mapping
from typing import NamedTuple

import orjson

_TAKEN = frozenset({"archived", "duplicate"})
_LOST = frozenset({"failed", "excluded"})


class Acknowledgement(NamedTuple):
    """One batch's receipt, read: entries by id."""

    taken: frozenset[str]
    lost: frozenset[str]
    #: Whether every entry that was sent is taken: then nothing more will come.
    whole: bool


def read_receipt(data: bytes, batch: str, zip_sha256: str, files: Mapping[str, str]) -> Acknowledgement:
    """Read a receipt of the ZIP with this hash; `files` gives each file's hash by its name in the ZIP.

    Raises ValueError where it can't be one, or is of other bytes than were sent.
    """
    try:
        found = orjson.loads(data)
        if found["batch"].removesuffix(".zip") != batch:
            raise ValueError("is of another batch")
        if found["sha256"].lower() != zip_sha256:
            raise ValueError("is of other bytes than were sent")
        taken, lost = set(), set()
        for item in found["items"]:
            name, status = item["name"], str(item["status"]).lower()
            entry = name.removeprefix("eml/").removesuffix(".eml")
            changed = name not in files or item.get("sha256", files[name]).lower() != files[name]
            if changed or status in _LOST:
                lost.add(entry)
            elif status in _TAKEN:
                taken.add(entry)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("can't be read as a receipt") from error
    return Acknowledgement(frozenset(taken - lost), frozenset(lost), whole=not lost and len(taken) == len(files))

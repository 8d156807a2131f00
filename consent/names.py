"""The names that contacts go by, kept so that a person can find one by any word of it.

A name stands in the records of each text; here each stands once, under its contact's tag. Lawful erasure takes it.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, LargeBinary, String, Table

from consent.database import PERSONAL_OF_CONTACT, among, fetch, metadata, upsert

#: Words of a name that it is found by, and bytes of one way to find it.
_WORDS, _LONGEST = 6, 120

name_table = Table(
    "contact_name",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("contact_tag", LargeBinary, primary_key=True),
    # A keyed tag of the name, and which of its words the way to find it begins with.
    Column("name_tag", LargeBinary, primary_key=True),
    Column("word", Integer, primary_key=True),
    # The name from that word on, folded, as UTF-8: bytes sort alike in every database and locale.
    Column("folded", LargeBinary, nullable=True, info=PERSONAL_OF_CONTACT),
    Column("name", String(400), nullable=True, info=PERSONAL_OF_CONTACT),
    # The events' clock: when the contact was last called so.
    Column("called_at", BigInteger, nullable=False),
    Index("contact_name_folded_ix", "organization", "folded"),
)


def note_names(
    tx: Connection, organization: str, tags: Callable[..., bytes], told: Mapping[tuple[bytes, str], int]
) -> None:
    """Keep names, given by (the contact's tag, the name) with when the contact was called so."""
    rows = [
        (organization, contact_tag, tags("name", name), word, folded, name, at)
        for (contact_tag, name), at in told.items()
        for word, folded in enumerate(_ways(name))
    ]
    upsert(tx, name_table, rows)


def names_of(tx: Connection, organization: str, contact_tags: Sequence[bytes]) -> dict[bytes, str]:
    """Return what each of these contacts was called last, where that is known."""
    if not contact_tags:
        return {}
    condition, parameters = among(tx, "contact_tag", list(contact_tags))
    sql = f"""SELECT contact_tag, name FROM contact_name
    WHERE organization = ? AND {condition} AND word = 0 AND name IS NOT NULL ORDER BY called_at"""
    return {bytes(tag): name for tag, name in fetch(tx, sql, [organization, *parameters])}


def find_contacts(tx: Connection, organizations: Sequence[str], name: str, limit: int) -> list[tuple[str, bytes]]:
    """Return (organization, contact tag) of contacts one of whose names has a word that begins so, up to a limit."""
    wanted = fold(name)
    if not wanted or not organizations:
        return []
    condition, parameters = among(tx, "organization", list(organizations))
    # No UTF-8 text holds the byte 0xff: it stands behind all that begin with these bytes.
    sql = f"""SELECT DISTINCT organization, contact_tag FROM contact_name
    WHERE {condition} AND folded >= ? AND folded < ? ORDER BY organization, contact_tag LIMIT ?"""
    rows = fetch(tx, sql, [*parameters, wanted, wanted + b"\xff", limit])
    return [(organization, bytes(tag)) for organization, tag in rows]


def fold(name: str) -> bytes:
    """Return a name as it is looked for: without case, marks and punctuation, its words one blank apart."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    words = "".join(c if c.isalnum() else " " for c in plain).split()
    return " ".join(words).encode()[:_LONGEST]


def _ways(name: str) -> list[bytes]:
    """Return a name from each of its words on: whoever looks for `kim` finds Grace Kim."""
    words = fold(name).split(b" ")
    return [b" ".join(words[at:]) for at in range(min(len(words), _WORDS)) if words[at]]

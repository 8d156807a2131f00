"""The published formats, checked against implementations that share no code with ours."""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from importlib.resources import files

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from consent import merkle
from consent.canonical import (
    base64url,
    canonical,
    commitment,
    entry_id,
    from_base64url,
    parse_entry_id,
    parse_timestamp,
    timestamp,
)
from consent.entry import Entry, entry_json, leaf_of
from tests.ledger.auditing import LEAF


def _vectors(name):
    rows = json.loads((files("consent") / "vectors" / f"{name}.json").read_text())[name]
    assert rows
    return rows


_keys = st.text(st.characters(max_codepoint=127), max_size=8)
_atoms = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.text(st.characters(exclude_categories=["Cs"]))
)
_documents = st.recursive(
    _atoms, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_keys, inner, max_size=5), max_leaves=25
)


@given(_documents)
def test_canonical_bytes_are_those_of_rfc_8785(document):
    assert canonical(document) == rfc8785.dumps(document)


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63])
def test_a_number_that_others_would_round_is_refused(number):
    with pytest.raises(TypeError):
        canonical({"number": number})


@pytest.mark.parametrize("row", _vectors("commitments"), ids=lambda row: row["name"])
def test_each_published_commitment_is_ours(row):
    salt = urlsafe_b64decode(row["salt"] + "==")

    assert commitment(salt, row["name"], row["value"]) == row["commit"]


@pytest.mark.parametrize("row", _vectors("commitments"), ids=lambda row: row["name"])
def test_each_published_commitment_can_be_made_with_other_libraries(row):
    salt = urlsafe_b64decode(row["salt"] + "==")

    hashed = hashlib.sha256(salt + row["name"].encode() + b"\x00" + rfc8785.dumps(row["value"])).digest()

    assert rfc8785.dumps(row["value"]).decode() == row["canonical"]
    assert urlsafe_b64encode(hashed).decode().rstrip("=") == row["commit"]
    assert (len(salt), len(row["commit"])) == (16, 43)


@pytest.mark.parametrize("row", _vectors("leaves"), ids=lambda row: row["entry"]["id"])
def test_each_published_leaf_is_ours(row):
    entry = entry_of(row["entry"])

    assert entry.leaf.hex() == row["leaf_hash"]
    assert leaf_of(entry).hex() == row["leaf_hash"]
    assert json.loads(entry_json(entry)) == row["entry"]


@pytest.mark.parametrize("row", _vectors("leaves"), ids=lambda row: row["entry"]["id"])
def test_each_published_leaf_can_be_made_with_other_libraries(row):
    entry = row["entry"]

    assert rfc8785.dumps({name: entry[name] for name in LEAF}).decode() == row["canonical"]
    assert hashlib.sha256(b"\x00" + row["canonical"].encode()).hexdigest() == row["leaf_hash"] == entry["leaf_hash"]
    for name, held in entry["values"].items():
        salted = urlsafe_b64decode(held["salt"] + "==") + name.encode() + b"\x00" + rfc8785.dumps(held["value"])
        commit = urlsafe_b64encode(hashlib.sha256(salted).digest()).decode().rstrip("=")
        assert entry["body"][name] == {"commit": commit}


def test_the_published_roots_are_those_of_pymerkle():
    tree = InmemoryTree(algorithm="sha256")
    leaves = []
    published = {row["size"]: row for row in _vectors("roots")}
    assert set(published) == {size for k in range(7) for size in (2**k - 1, 2**k, 2**k + 1)}

    for size in range(max(published) + 1):
        if size in published:
            row = published[size]
            frontier = [bytes.fromhex(one) for one in row["frontier"]]
            assert tree.get_root(size).hex() == row["root"]
            assert merkle.root_of(leaves).hex() == merkle.root(frontier).hex() == row["root"]
            assert merkle.extend((), 0, leaves) == frontier
        tree.append_entry(str(size).encode())
        leaves.append(hashlib.sha256(b"\x00" + str(size).encode()).digest())


@given(st.lists(st.integers(0, 40), max_size=8))
def test_a_tree_that_grows_by_commits_is_the_tree_of_its_leaves(commits):
    tree = InmemoryTree(algorithm="sha256")
    frontier, size = [], 0

    for count in commits:
        leaves = [hashlib.sha256(b"\x00" + str(size + at).encode()).digest() for at in range(count)]
        for at in range(count):
            tree.append_entry(str(size + at).encode())
        frontier = merkle.extend(merkle.unpacked(merkle.packed(frontier)), size, leaves)
        size += count
        assert len(frontier) == size.bit_count()
        assert merkle.root(frontier) == tree.get_root(size)


@given(st.binary(max_size=40))
def test_base64url_has_one_form_for_each_run_of_bytes(data):
    text = base64url(data)

    assert text == urlsafe_b64encode(data).decode().rstrip("=")
    assert from_base64url(text) == data


@pytest.mark.parametrize("text", ["QQ==", "QR", "Q", "Q*Q", "QQ\n", "+/+/"])
def test_another_form_of_base64url_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        from_base64url(text)


@given(st.integers(-(10**15), 253_402_300_799_999_999))
def test_a_time_is_written_with_six_digits_and_read_back(micros):
    text = timestamp(micros)

    assert (len(text), text[-8], text[-1]) == (27, ".", "Z")
    assert parse_timestamp(text) == micros


@given(st.from_regex(r"[a-z0-9-]{2,32}", fullmatch=True), st.integers(0, 10**12 - 1))
def test_an_entrys_id_names_its_ledger_and_its_number(organization, seq):
    assert parse_entry_id(entry_id(organization, seq)) == (organization, seq)


@pytest.mark.parametrize("text", ["acme", "acme-5", "ACME-000000000005", "acme-0000000000005x", "a-000000000005", ""])
def test_what_is_no_entrys_id_is_refused(text):
    with pytest.raises(ValueError, match="an entry id looks like"):
        parse_entry_id(text)


def entry_of(told):
    """Read an entry as exports give it, with another library's canonical bytes."""
    return Entry(
        told["organization"], told["seq"], told["lane"], told["pos"], told["kind"], told["conversation"],
        told["version"], parse_timestamp(told["occurred_at"]), parse_timestamp(told["recorded_at"]),
        rfc8785.dumps(told["body"]), rfc8785.dumps(told["values"]), bytes.fromhex(told["leaf_hash"]),
    )  # fmt: skip

"""Anybody can tell offline that an entry stands in a ledger whose head we signed, and that a changed one doesn't."""

import base64
import copy
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pymerkle import InmemoryTree
from pymerkle.proof import MerkleProof, verify_inclusion

from consent.checkpoints import SEQS_OF_CHECKPOINTS, newest_checkpoint, open_note, sign_head, verifiers
from consent.database import run
from consent.kinds import Kind, Lane
from consent.ledger import append, newest_head, walk
from consent.merkle import root_of
from consent.notes import NoteError, Signer, new_key
from consent.proofs import inclusion_path, root_of_path
from consent.values import Record
from jobs.evidence import bundle, sign, sign_all, verify_bundle
from jobs.verifying import verify_ledgers
from sync.intake import Intake
from tests.sync.sync_world import NOON, deliver_all, destination, found, text


@pytest.fixture
def signer():
    return Signer.read("bank.example/assent", new_key())


@pytest.fixture
def ledger(database):
    """A ledger of commits of many sizes."""
    found(database, "acme")
    intake = Intake(database)
    at = 0
    for size in (1, 2, 40, 1, 7, 1, 1, 90, 3, 1):
        intake.take([text("Hi", contact=at + n) for n in range(size)])
        at += size
    intake.close()
    return database


def test_every_entry_of_a_ledger_is_proven_at_every_size_that_was_signed(ledger):
    with ledger.read() as tx:
        leaves = [entry.leaf for entry in walk(tx, "acme")]
        sizes = [
            row[0] for row in tx.exec_driver_sql("SELECT size FROM head WHERE organization = 'acme' ORDER BY size")
        ]
        for size in (sizes[0], sizes[len(sizes) // 2], sizes[-1]):
            root = root_of(leaves[:size])
            for seq in range(size):
                path = inclusion_path(tx, "acme", seq, size)

                assert root_of_path(leaves[seq], seq, size, path) == root
                assert root_of_path(leaves[seq - 1], seq, size, path) != root or size == 1
                assert root_of_path(leaves[seq], seq, size, path[:-1]) != root or size == 1
        with pytest.raises(ValueError, match="isn't among"):
            inclusion_path(tx, "acme", sizes[-1], sizes[-1])


def test_a_proof_is_what_another_library_says_it_is(ledger):
    with ledger.read() as tx:
        entries = list(walk(tx, "acme"))
        size = len(entries)
        tree = InmemoryTree(algorithm="sha256")
        for entry in entries:
            tree.append_entry(_leaf_data(entry))
        for seq in (0, 1, size // 2, size - 1):
            theirs = tree.prove_inclusion(seq + 1, size)

            assert [one.hex() for one in theirs.path[1:]] == [
                one.hex() for one in inclusion_path(tx, "acme", seq, size)
            ]
            verify_inclusion(tree.get_leaf(seq + 1), tree.get_root(size), theirs)
    assert MerkleProof


def _leaf_data(entry):
    import rfc8785

    from consent.entry import entry_json
    from tests.ledger.auditing import LEAF

    told = json.loads(entry_json(entry))
    return rfc8785.dumps({name: told[name] for name in LEAF})


def test_a_checkpoint_is_a_signed_note_that_is_verified_with_a_few_lines(ledger, signer):
    sign(ledger, signer, "acme")

    with ledger.read() as tx:
        entry = newest_checkpoint(tx, "acme")
        head = newest_head(tx, "acme")
        leaves = [one.leaf for one in walk(tx, "acme")]
    note = entry.facts()["checkpoint"]
    text_, _, signature = note.partition("\n\n")
    origin, size, root = text_.split("\n")
    name, _, encoded = signature.removeprefix("— ").strip().rpartition(" ")
    raw = base64.b64decode(encoded)
    public = base64.b64decode(signer.verifier.split("+", 2)[2])
    assert (origin, int(size), name) == ("bank.example/assent/acme", head.size - 1, "bank.example/assent")
    assert base64.b64decode(root) == root_of(leaves[:-1])
    assert raw[:4] == hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(raw[4:], (text_ + "\n").encode())
    assert (entry.kind, entry.lane) == (Kind.CHECKPOINT, Lane.AUDIT)


def test_the_newest_checkpoint_is_found_however_long_the_ledger_is(make_sqlite_url, open_databases, signer):
    database = open_databases(make_sqlite_url())
    found(database, "acme")
    steps = {}

    for told, texts in (("short", 20), ("long", 2_000)):
        Intake(database).take([text("Hi", contact=n) for n in range(texts)])
        sign(database, signer, "acme")
        steps[told] = 0

        def step(told=told):
            steps[told] += 1

        with database.read() as tx:
            tx.connection.driver_connection.set_progress_handler(step, 1)
            assert newest_checkpoint(tx, "acme") is not None
            tx.connection.driver_connection.set_progress_handler(None, 1)

    assert 0 < steps["long"] < 2 * steps["short"]


def test_however_much_was_audited_a_ledger_without_checkpoints_is_known_by_one_look(ledger, signer):
    audited = [Record(Kind.ACCESS, NOON, {"access": "sign_in", "actor": "ann"}, {}) for _ in range(2_000)]
    with ledger.write() as tx:
        append(tx, "acme", audited, NOON)
    with ledger.write() as tx:
        run(tx, "ANALYZE")

    with ledger.read() as tx:
        none, unsigned = newest_checkpoint(tx, "acme"), verifiers(tx, "acme")
        looked = plan(tx, SEQS_OF_CHECKPOINTS, ["acme"])
    sign(ledger, signer, "acme")
    with ledger.write() as tx:
        append(tx, "acme", audited, NOON)
    with ledger.read() as tx:
        some, signed = newest_checkpoint(tx, "acme"), verifiers(tx, "acme")

    assert (none, unsigned) == (None, [])
    assert "entry_checkpoint_ix" in looked
    assert open_note(some.facts()["checkpoint"], signer.verifier).size == some.seq
    assert [key for key, _, _ in signed] == [signer.verifier]


def plan(tx, sql, parameters):
    """Return in the database's words how it goes about a query."""
    explain = "EXPLAIN" if tx.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    return " ".join(str(row) for row in run(tx, f"{explain} {sql}", parameters))


def test_nothing_is_signed_twice_where_only_checkpoints_are_new(ledger, signer):
    first = sign_all(ledger, signer)
    second = sign_all(ledger, signer)
    other = sign_all(ledger, Signer.read("bank.example/assent", new_key()))

    assert (first, second, other) == (1, 0, 1)


def test_a_destination_is_told_the_newest_checkpoint(ledger, signer):
    to = destination(batch=100)
    sign(ledger, signer, "acme")

    deliver_all(ledger, to)

    [statement] = [one for one in to.connector.statements if one.organization == "acme"]
    assert open_note(statement.checkpoint, signer.verifier).size == statement.size - 1


def test_a_bundle_holds_whatever_happened_since_and_names_what_was_changed(ledger, signer):
    made = bundle(ledger, "acme", 5, signer)
    intake = Intake(ledger)
    intake.take([text("Hi", contact=900)])
    intake.close()
    later = bundle(ledger, "acme", 5, signer)
    assert later == made

    def verified(change):
        changed = copy.deepcopy(made)
        change(changed)
        return verify_bundle(json.dumps(changed).encode(), signer.verifier).problems

    assert verified(lambda _: None) == ()
    assert verified(lambda b: b["entry"].update(values=None)) == ()  # erased since: what was decided stays proven
    wrong = [
        (lambda b: b["entry"]["body"].update(verdict="blocked", decision="opted_in"), "leaf hash"),
        (lambda b: b["entry"]["values"]["contact"].update(value="+14045550199"), "`contact`"),
        (lambda b: b["entry"].update(occurred_at="2020-01-01T00:00:00.000000Z"), "leaf hash"),
        (lambda b: b["entry"].update(leaf_hash="0" * 64), "leaf hash"),
        (lambda b: b["proof"]["path"].pop(), "doesn't lead"),
        (lambda b: b["proof"].update(index=6), "another entry"),
        (lambda b: b["proof"].update(size=7), "another size"),
        (lambda b: b.update(checkpoint=b["checkpoint"].replace("acme", "evil", 1)), "signature"),
        (lambda b: b.update(checkpoint="nothing"), "isn't signed"),
    ]
    for change, told in wrong:
        assert any(told in one for one in verified(change)), told
    forger = Signer.read(signer.name, new_key())
    assert verify_bundle(json.dumps(made).encode(), forger.verifier).problems == (
        "the checkpoint isn't signed by this key",
    )
    for junk in (b"", b"[]", b'{"format": "assent-proof/1"}', b"\xff"):
        with pytest.raises(ValueError, match="no proof"):
            verify_bundle(junk)
    with pytest.raises(NoteError, match="keys list"):
        open_note(made["checkpoint"], "assent+00000000+AAAA")


def test_a_whole_ledger_holds_every_checkpoint_that_was_signed_of_it(ledger, signer):
    intake = Intake(ledger)
    for number in range(3):
        sign(ledger, signer, "acme")
        intake.take([text("Hi", contact=200 + number)])
    intake.close()

    assert [one.problem for one in verify_ledgers(ledger)] == ["", ""]


def _of_another_tree(signer, head):
    return sign_head(signer, "acme", head.size, bytes(32))


def _of_another_size(signer, head):
    return sign_head(signer, "acme", head.size - 1, head.root)


def _of_another_ledger(signer, head):
    return sign_head(signer, "globex", head.size, head.root)


def _with_another_text(signer, head):
    return sign_head(signer, "acme", head.size, head.root).replace(f"\n{head.size}\n", f"\n{head.size + 1}\n")


@pytest.mark.parametrize(
    ("forged", "problem"),
    [
        (_of_another_tree, "signs another tree"),
        (_of_another_size, "signs another tree"),
        (_of_another_ledger, "of another ledger"),
        (_with_another_text, "signature isn't that of its text"),
    ],
)
def test_a_ledger_that_was_written_anew_around_its_checkpoints_is_found(ledger, signer, forged, problem):
    with ledger.write() as tx:
        head = newest_head(tx, "acme")
        facts = {"checkpoint": forged(signer, head), "key": signer.verifier, "size": head.size, "root": head.root.hex()}
        append(tx, "acme", [Record(Kind.CHECKPOINT, NOON, facts, {})], NOON)

    [found_in, _] = verify_ledgers(ledger)

    assert problem in found_in.problem
    assert found_in.problem.startswith(f"entry acme-{head.size:012d} is a checkpoint")

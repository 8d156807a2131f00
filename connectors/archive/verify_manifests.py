"""A ledger's manifests, verified: each whole, each naming the one before, together listing exactly the segments."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from connectors.archive.flaws import Cause, Flaws
from connectors.archive.manifest import Listed, Manifest, Stated, read_lines
from connectors.archive.names import manifest_name
from connectors.archive.sealed import Link, Unsealed, unseal
from connectors.archive.signature import Signature
from connectors.archive.store import Store
from connectors.archive.verify_lane import Seen


def read_manifests(
    store: Store, organization: str, numbers: Sequence[int], keys: Sequence[str], flaws: Flaws
) -> Iterator[Stated]:
    """Read a ledger's manifests by number, noting what is wrong with each and with their chain.

    What one of `keys` signed has to be what it signed.
    """
    before: Link | None = None
    expected = 0
    for number in numbers:
        for missing in range(expected, number):
            told = f"is missing: {manifest_name(number)} was written after it"
            flaws.add(f"{organization}/{manifest_name(missing)}", Cause.MISSING, told)
        path = f"{organization}/{manifest_name(number)}"
        read = unseal(store.read(path))
        stated = None
        if read.problem is not None:
            cause = Cause.TRUNCATED if "cut short" in read.problem else Cause.CHANGED
            flaws.add(path, cause, read.problem)
        else:
            stated = _read(path, read, keys, flaws)
        if stated is not None:
            if number == expected:
                _follow(stated.manifest, before, flaws)
            yield stated
        before, expected = Link(path, read.sha256), number + 1


def check_signatures(stated: Sequence[Stated], keys: Sequence[str], flaws: Flaws) -> None:
    """See that one of these keys vouches for the newest manifest, and so, by its chain, for all before it.

    Those from before there was a key stay as they are: unsigned, and vouched for by the first that was signed.
    """
    signers = [one.signature for one in stated]
    if not keys:
        if signers and signers[-1] is not Signature.NOBODY:
            told = "is signed, and no key to check that with is known: name the one that you trust with --key"
            flaws.note(stated[-1].manifest.name, Cause.PARTIAL, told)
        return
    signed = False
    for one in stated:
        if signed and one.signature is Signature.NOBODY:
            flaws.add(one.manifest.name, Cause.UNSIGNED, "isn't signed, and a manifest before it is")
        signed = signed or one.signature is not Signature.NOBODY
    if not signers or signers[-1] is Signature.TRUSTED:
        return
    newest = stated[-1].manifest.name
    if signers[-1] is Signature.STRANGER:
        flaws.add(newest, Cause.UNSIGNED, "is signed by another key than those that are trusted")
    elif not signed:
        told = "isn't signed, as are none before it: it was changed, or written without the key; the next one is signed"
        flaws.add(newest, Cause.UNSIGNED, told)


def check_listing(
    organization: str, stated: Sequence[Stated], seen: Mapping[str, Seen], flaws: Flaws, *, whole: bool, in_use: bool
) -> None:
    """Compare what the manifests list with the segments that are there; `whole`: no manifest is missing or spoiled."""
    listed_names: set[str] = set()
    held: Counter[str] = Counter()
    for manifest, listed, *_ in stated:
        kinds: Counter[str] = Counter()
        for one in listed:
            listed_names.add(one.link.name)
            held[one.lane] += one.count
            _compare(manifest, one, seen.get(one.link.name), flaws)
            if one.link.name in seen:
                kinds.update(seen[one.link.name].header.kinds)
        if len(listed) != manifest.segments:
            told = f"lists {len(listed)} segments where its first line says {manifest.segments}"
            flaws.add(manifest.name, Cause.CHANGED, told)
        if kinds != manifest.kinds and all(one.link.name in seen for one in listed):
            flaws.add(manifest.name, Cause.CHANGED, "counts other kinds of entries than its segments hold")
        if whole and any(tail.held != held[lane] for lane, tail in manifest.tails.items()):
            flaws.add(manifest.name, Cause.CHANGED, "counts other entries than its segments hold")
    _check_unlisted(organization, stated, seen, listed_names, flaws, whole=whole, in_use=in_use)


def _check_unlisted(
    organization: str, stated: Sequence[Stated], seen: Mapping[str, Seen], listed: set[str], flaws: Flaws,
    *, whole: bool, in_use: bool,
) -> None:  # fmt: skip
    tails = stated[-1].manifest.tails if stated else {}
    newer = []
    for path in sorted(seen.keys() - listed):
        header = seen[path].header
        if header.lane not in tails or header.number > tails[header.lane].number:
            newer.append(path)
        elif whole:
            flaws.add(path, Cause.EXTRA, "isn't listed by the manifests of its time")
    if newer:
        number = stated[-1].manifest.number + 1 if stated else 0
        path = f"{organization}/{manifest_name(number)}"
        told = f"{len(newer)} segments from {newer[0]} on"
        if in_use:
            flaws.note(path, Cause.UNLISTED, f"isn't written yet: a run is at work, and wrote {told}")
        elif not flaws.spoils(path):  # else it is there, and can't be believed
            flaws.add(
                path, Cause.UNLISTED,
                f"is missing, and should list {told}: it was removed, or the run was cut before it wrote it; "
                "`assent sync` writes it in the second case",
            )  # fmt: skip


def _read(path: str, read: Unsealed, keys: Sequence[str], flaws: Flaws) -> Stated | None:
    try:
        stated = read_lines(path, read.lines, read.sha256, keys)
    except ValueError as error:
        flaws.add(path, Cause.CHANGED, str(error))
        return None
    if stated.manifest.name != path:
        flaws.add(path, Cause.RENAMED, f"holds what {stated.manifest.name} should hold")
        return None
    return stated


def _follow(manifest: Manifest, before: Link | None, flaws: Flaws) -> None:
    if manifest.previous == before:
        return
    if before is None or manifest.previous is None or manifest.previous.name != before.name:
        flaws.add(manifest.name, Cause.CHANGED, "names another manifest before it than the one that is there")
    elif not flaws.spoils(before.name):
        flaws.add(before.name, Cause.REPLACED, f"isn't the file that {manifest.name} was written after")


def _compare(manifest: Manifest, listed: Listed, seen: Seen | None, flaws: Flaws) -> None:
    name = listed.link.name
    if flaws.spoils(name):
        return
    if seen is None:
        flaws.add(name, Cause.MISSING, f"is missing: {manifest.name} lists it")
        return
    header = seen.header
    if listed != Listed(
        header.lane, header.number, header.first, header.last, header.count, header.late, seen.bytes,
        Link(name, seen.sha256),
    ):  # fmt: skip
        flaws.add(name, Cause.REPLACED, f"isn't the file that {manifest.name} lists")

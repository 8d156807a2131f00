"""A process killed (SIGKILL) at any step of a delivery to another machine leaves one file of the right bytes.

A step is what changes something there: the process is killed when the server's files have come so far, before what it
sends next arrives.
"""

from dataclasses import replace
from hashlib import md5

from connectors.archive.directory import Directory
from connectors.archive.dropbox import Dropbox
from connectors.archive.verify import verify_archive, verify_store
from tests.archive.conftest import known_at
from tests.archive.killed import SIGNER, connector_to, deliver, killed_where


def kill_all_along(wire, through, directly, steps):
    """Deliver run after run, the n-th killed at its n-th step and then tried again; return how many were.

    `steps` makes what says at which step a run is, as pieces go by.
    """
    again = connector_to(directly)
    deliver(again, 0)
    number, killed = 1, True
    while killed:
        step = steps()
        killed = killed_where(lambda piece: step(piece) >= number, wire, through, number)  # noqa: B023
        if killed:
            deliver(again, number)
            number += 1
    again.shut()
    return number - 1


def deliver_whole(connector, runs):
    connector.prepare()
    for number in range(runs):
        deliver(connector, number)
    connector.shut()


def test_a_process_killed_at_any_step_to_an_sftp_server_leaves_one_batch_of_the_right_bytes(
    sshd, dropbox_settings, dropbox, wire
):
    between, incoming = wire(sshd.port), sshd.place / "incoming"

    def steps():
        states = [look()]

        def step(_piece):
            if (found := look()) != states[-1]:
                states.append(found)
            return len(states) - 1

        return step

    def look():
        return {(str(path), path.stat().st_size) for path in incoming.rglob("*")}

    def held(folder):
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return {name: data for name, data in files.items() if not name.endswith(".part")}

    kills = kill_all_along(between, known_at(sshd, dropbox_settings, between.port), dropbox_settings, steps)
    deliver_whole(connector_to(replace(dropbox_settings, path=f"{sshd.place}/whole")), kills + 2)

    # Each of three files is created, written (the ZIP in pieces), and renamed.
    assert kills > 9
    assert held(incoming) == held(sshd.place / "whole")
    store = Dropbox(dropbox_settings)
    assert verify_store(store, keys=[SIGNER.verifier]).flaws == []
    store.shut()


def test_a_process_killed_at_any_step_to_a_bucket_leaves_one_object_of_the_right_bytes(
    s3, bucket_settings, bucket, wire, root, connect
):
    between = wire(s3.server.port)

    def steps():
        seen = [0]

        def step(piece):
            # A request to put something, what follows of it, and the first one after it was answered.
            seen[0] += seen[0] % 3 != 0 or piece.startswith(b"PUT ")
            return seen[0]

        return step

    through = replace(bucket_settings, endpoint_url=f"http://127.0.0.1:{between.port}")
    kills = kill_all_along(between, through, bucket_settings, steps)
    whole = connect(Directory(root), signer=SIGNER)
    deliver_whole(whole, kills + 2)

    # Two requests that put something: each begun, begun and not ended, and answered.
    assert kills == 6
    paths = [path for path in root.rglob("*") if path.is_file()]
    assert s3.tags == sorted((str(path.relative_to(root)), md5(path.read_bytes()).hexdigest()) for path in paths)
    assert verify_archive(root, keys=[SIGNER.verifier]).flaws == []

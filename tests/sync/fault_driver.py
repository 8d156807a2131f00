"""Takes texts into an SQLite file that goes bad on the way: `fault_driver.py full|readonly PATH`.

Prints one JSON line an answered text, and one for the error that it met.
"""

import json
import os
import resource
import sys
from pathlib import Path

from consent.database import DatabaseError, open_database
from sync.intake import Intake
from tests.sync.sync_world import found, text

_NOBODY = 65_534


def full(path: Path) -> None:
    """Let no file grow further for a while, as on a full disk, then take what is left."""
    database = open_database(f"sqlite:///{path}")
    found(database, "acme")
    intake = Intake(database)
    say(intake.take([text("Hi", contact=at) for at in range(5)]))
    largest = max(file.stat().st_size for file in path.parent.glob("*.db*"))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 200_000, most))
    left = [text("Hi", contact=at) for at in range(5, 505)]
    try:
        while left:
            say(intake.take(left[:5]))
            del left[:5]
    except DatabaseError as error:
        say([{"error": str(error)}])
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    say(intake.take(left))
    database.dispose()


def readonly(path: Path) -> None:
    """Take a text, then lose the right to write the file, whoever we are."""
    database = open_database(f"sqlite:///{path}")
    found(database, "acme")
    say(Intake(database).take([text("Hi", contact=0)]))
    database.dispose()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    if os.geteuid() == 0:  # root may write whatever a file's mode says
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    try:
        say(Intake(open_database(f"sqlite:///{path}")).take([text("Hi", contact=1)]))
    except DatabaseError as error:
        say([{"error": str(error)}])


def say(answers: list) -> None:
    for answer in answers:
        sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    {"full": full, "readonly": readonly}[sys.argv[1]](Path(sys.argv[2]))

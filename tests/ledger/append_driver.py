"""Appends to one ledger from a process of its own: `append_driver.py URL ORGANIZATION COMMITS`."""

import sys

from consent.database import open_database
from consent.kinds import Kind
from consent.ledger import append
from consent.values import Record


def main(url: str, organization: str, commits: int) -> None:
    """Make commits of 1, 2, 3, 1, 2, … entries of different lanes."""
    database = open_database(url)
    kinds = [Kind.MESSAGE, Kind.AUTO_MESSAGE, Kind.SETTING]
    for commit in range(commits):
        records = [
            Record(kinds[(commit + at) % 3], 1_795_000_000_000_000, {"commit_": commit}, {"text": "Hi", "line": "x"})
            for at in range(1 + commit % 3)
        ]
        with database.write() as tx:
            append(tx, organization, records, 1_795_000_000_000_000)
    database.dispose()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""How a command ends: the exit codes that scripts rely on."""

from enum import IntEnum


class Exit(IntEnum):
    """The code a process ends with."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    SOME_FAILED = 3  # finished, but some records were refused or failed
    SETTINGS = 4  # settings, keys or schema are wrong
    UNREACHABLE = 5  # a destination is unreachable or refuses us
    DIFFERENT = 6  # verification or reconciliation found a difference
    RUNNING = 7  # a resync or repair is already running
    POLICY = 8  # refused by policy
    INTERRUPTED = 130
    TERMINATED = 143


class Problem(Exception):  # noqa: N818 (a command's user reads it, it is no fault of the program)
    """A command can't go on: the message says what happened and what to do, and names no number, name or text."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code

"""`ingest`: messages and events in, one a line; answers out, one a line, each once it is durable."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO

import typer

from jobs.cli.shared import Config, Json
from jobs.exits import Exit, Problem

#: Lines in one transaction at most.
_CHUNK = 500
#: A longer line is no message.
_LINE = 4 * 1024 * 1024
_READ = 256 * 1024


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ingest)


def ingest(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON objects, one a line; - is standard input.")],
    config: Config = None,
    as_json: Json = False,  # noqa: ARG001 (answers are JSON anyway)
) -> None:
    """Take messages (one a line), print answers (one a line).

    An answer is printed once it is durable: killed at any moment, take the same file again. Ends 0; 3 if a line
    was answered with an error; 4 if the settings or the schema are wrong or the database is read-only; 1 if the
    database is away or its disk is full.
    """
    from jobs.build import assembled
    from sync.intake import Intake

    failed = False
    with _opened(file) as lines, assembled(config) as parts:
        intake = Intake(parts.database)
        try:
            for chunk in _chunks(lines):
                answers, errors = _answers(intake, chunk)
                sys.stdout.buffer.write(answers)
                sys.stdout.buffer.flush()
                failed = failed or errors
        finally:
            intake.close()
    if failed:
        raise typer.Exit(Exit.SOME_FAILED)


def _opened(file: str) -> BinaryIO:
    if file == "-":
        return open(0, "rb", buffering=0, closefd=False)
    try:
        return open(file, "rb", buffering=0)  # noqa: PTH123 (a descriptor, read as it comes)
    except OSError as error:
        raise Problem(Exit.USAGE, f"{file} can't be read ({error.strerror}): check the path and its rights") from error


def _answers(intake: Any, chunk: list[bytes | None]) -> tuple[bytes, bool]:
    """Take a chunk and return its answers as lines in the order of input, and whether one is an error."""
    from jobs import wire

    objects: list[Any] = []
    answers: list[dict[str, Any] | None] = []
    for line in chunk:
        try:
            objects.append(wire.read_json(line or b""))
            answers.append(None)
        except ValueError:
            detail = "the line is no JSON object" if line is not None else f"the line is longer than {_LINE:,} bytes"
            answers.append(wire.refusal(None, detail))
    taken = iter(wire.take(intake, objects))
    told = [next(taken) if answer is None else answer for answer in answers]
    return b"".join(wire.write_json(answer) + b"\n" for answer in told), any("error" in answer for answer in told)


def _chunks(source: BinaryIO) -> Iterator[list[bytes | None]]:
    """Yield lines that are there, up to 500 at once; None stands for one that is too long."""
    # What a slow sender has written so far is answered at once, without waiting for a full chunk.
    lines: list[bytes | None] = []
    rest, too_long = b"", False
    while data := source.read(_READ):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            if too_long or len(line) > _LINE:
                lines.append(None)
                too_long = False
            elif line.strip():
                lines.append(line)
        if len(rest) > _LINE:
            rest, too_long = b"", True
        while len(lines) >= _CHUNK:
            yield lines[:_CHUNK]
            del lines[:_CHUNK]
        if lines and not _more(source):
            yield lines
            lines = []
    if too_long:
        lines.append(None)
    elif rest.strip():
        lines.append(rest)
    if lines:
        yield lines


def _more(source: BinaryIO) -> bool:
    """Tell whether reading on would not wait."""
    import select

    return bool(select.select([source], [], [], 0)[0])

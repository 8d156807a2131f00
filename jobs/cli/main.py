"""The command line: every family of commands, and how each kind of error ends."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Annotated, NoReturn

import typer

from jobs.cli import (
    configuration,
    consenting,
    databases,
    delivering,
    exporting,
    holding,
    importing,
    ledgers,
    looking,
    organizing,
    proving,
    refusing,
    resyncing,
    reviewing,
    salesforce,
    starting,
    taking,
    tokens,
    users,
    wording,
)
from jobs.cli.shared import Config, Json
from jobs.exits import Exit

app = typer.Typer(
    name="assent",
    no_args_is_help=True,
    rich_markup_mode=None,
    # Its tracebacks would print local variables, numbers and texts among them.
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    help="Consent for business texting under the TCPA, and the sync of every record to Salesforce, archive and portal.",
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"assent {version('assent')}")
        raise typer.Exit


@app.callback()
def _root(
    config: Config = None,  # noqa: ARG001 (its callbacks, and those of the commands, read all three)
    as_json: Json = False,  # noqa: ARG001
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    from jobs.logs import configure_logs

    # Standard output is for data; `serve` configures anew, as its settings say.
    configure_logs("warning")


_FAMILIES = (
    starting, taking, importing, delivering, looking, resyncing, refusing, exporting, holding, ledgers, proving,
    organizing, wording, consenting, reviewing, users, tokens,
)  # fmt: skip
for _family in _FAMILIES:
    _family.register(app)
app.add_typer(databases.app, name="db")
app.add_typer(salesforce.app, name="salesforce")
app.add_typer(configuration.app, name="config")


#: A signal that was lost is sent once more after so long.
_AGAIN_SECONDS = 0.05


def main() -> NoReturn:
    """Run one command and exit as INTERFACE says: `jobs.exits`."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _signal_again
    from jobs.cli.mishaps import tell

    try:
        app()
    except (SystemExit, KeyboardInterrupt) as end:
        code: object = Exit.INTERRUPTED if isinstance(end, KeyboardInterrupt) else end.code
    except Exception as error:
        code = tell(error)
    else:
        code = Exit.DONE
    _flush()
    sys.exit(int(code) if isinstance(code, int) else Exit.DONE if code is None else Exit.UNEXPECTED)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(int(Exit.TERMINATED))


def _signal_again(lost: "sys.UnraisableHookArgs") -> None:
    """Send a signal once more whose exception came where none can go on, and was dropped.

    That is in a weak reference's callback, as at the end of an import, or a finalizer
    (https://docs.python.org/3/library/sys.html#sys.unraisablehook): without it we would serve for ever.
    """
    number = {SystemExit: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}.get(lost.exc_type)
    if number is None:
        sys.__unraisablehook__(lost)
        return
    # Not at once: its handler would run in here, where nothing can go on either.
    later = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number))
    later.daemon = True
    later.start()


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has gone; the interpreter must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

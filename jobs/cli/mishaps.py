"""How an error ends a command: a sentence that says what to do, and its exit code."""

import sys

from jobs.exits import Exit, Problem


def tell(error: Exception) -> Exit:
    """Print what happened to stderr, without any value in it, and return the exit code."""
    code, lines = _read(error)
    for line in lines:
        print(f"assent: {line}", file=sys.stderr)
    return code


def _read(error: Exception) -> tuple[Exit, list[str]]:
    # Looked up by name first: the libraries that define the others are slow to import, and may not be imported yet.
    from jobs.settings.faults import SettingsError

    if isinstance(error, Problem):
        return error.code, [str(error)]
    if isinstance(error, SettingsError):
        return Exit.SETTINGS, [str(fault) for fault in error.faults]
    if isinstance(error, BrokenPipeError):
        return Exit.UNEXPECTED, []
    return _library(error)


def _library(error: Exception) -> tuple[Exit, list[str]]:
    from sqlalchemy.exc import DBAPIError, NoSuchModuleError

    from consent.database import DatabaseError, explain
    from consent.organizations import ForbiddenError, SettingError
    from consent.reviews import NoReviewError, ReviewClosedError
    from jobs.access.passwords import PasswordError
    from jobs.access.tokens import TokenError
    from jobs.access.users import UserError
    from jobs.asking import QuestionError
    from sync.migrate import SchemaError
    from sync.port import SuspendedError, TransientError
    from sync.resync import AlreadyRunningError

    match error:
        case ForbiddenError() | ReviewClosedError():
            return Exit.POLICY, [str(error)]
        case PasswordError():
            return Exit.POLICY, [str(error)]
        case SettingError() | QuestionError() | NoReviewError() | UserError() | TokenError():
            return Exit.USAGE, [str(error)]
        case SchemaError():
            return Exit.SETTINGS, [str(error)]
        case DatabaseError():
            return _database(str(error))
        case DBAPIError():
            return _database(explain(error))
        case ModuleNotFoundError(name="psycopg") | NoSuchModuleError():
            return Exit.SETTINGS, ["PostgreSQL's driver isn't installed: pip install 'assent[postgres]'"]
        case TransientError() | SuspendedError():
            return Exit.UNREACHABLE, [error.advice]
        case AlreadyRunningError():
            return Exit.RUNNING, ["a resync or repair of this destination is already running: wait for it"]
        case _:
            return _unexpected(error)


def _database(advice: str) -> tuple[Exit, list[str]]:
    # Where the advice is to change a setting or the schema, that is what is wrong; one that is away may come back.
    settings = ("[database]" in advice or "db upgrade" in advice) and "can't be reached" not in advice
    return (Exit.SETTINGS if settings else Exit.UNEXPECTED), [advice]


def _unexpected(error: Exception) -> tuple[Exit, list[str]]:
    import structlog

    structlog.get_logger().error("command.failed", exc_info=error)
    what = f"unexpected {type(error).__name__}: see the log line above, and report it with that line"
    return Exit.UNEXPECTED, [what + "; nothing that was acknowledged is lost"]

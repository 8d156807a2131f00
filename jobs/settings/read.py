"""Read settings: find the file, lay the environment over it, load secrets, and tell every fault at once."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from jobs.settings.faults import Fault, SettingsError
from jobs.settings.models import ArchiveSettings, PortalSettings, SalesforceSettings, Section, Settings

PREFIX = "ASSENT_"
CONFIG_VARIABLE = "ASSENT_CONFIG"
DEFAULT_FILE = "settings.toml"
#: Where `init` puts what it makes, and where a secret is looked for whose file isn't named.
TOKEN_FILE, PORTAL_SECRET_FILE = "var/keys/api-token", "var/keys/portal-secret"
EVIDENCE_KEY_FILE = "var/keys/evidence-key"

_KINDS: Mapping[str, type[Section]] = {
    "salesforce": SalesforceSettings,
    "archive": ArchiveSettings,
    "portal": PortalSettings,
}
_MADE_BY_INIT = {
    "server.token": TOKEN_FILE,
    "server.portal_secret": PORTAL_SECRET_FILE,
    "evidence.key": EVIDENCE_KEY_FILE,
    "portal.secret": PORTAL_SECRET_FILE,  # of any destination of that kind
}
_NEEDED = {
    ("salesforce", "jwt"): ("client_id", "username", "private_key"),
    ("salesforce", "client_credentials"): ("client_id", "client_secret"),
    ("archive", "s3"): ("bucket",),
    ("archive", "sftp"): ("host", "username", "known_hosts_file", "private_key"),
    ("archive", "smtp"): ("host", "sender", "recipient"),
}
#: What says which of these a destination needs, with its default; and what may stand in the place of another.
_WAY = {"salesforce": ("auth", "jwt"), "archive": ("transport", "directory")}
_INSTEAD = {"private_key": "password"}

#: Files that are read when they are needed, and what belongs into them.
_FILES = {
    "ca_bundle": "put the CA's certificates there",
    "known_hosts_file": "put the server's keys there, as its owner and `ssh-keyscan HOST` give them",
}

Path_ = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where they came from."""

    settings: Settings
    #: None where there is no file: defaults and the environment.
    file: Path | None
    #: What relative paths count from.
    folder: Path
    #: Of each key that isn't at its default: the settings file's path, or the variable's name.
    sources: Mapping[str, str]


def load_settings(config: Path | None = None, environ: Mapping[str, str] | None = None, *, keys: bool = True) -> Loaded:
    """Read `config`, else what ASSENT_CONFIG names, else `./settings.toml` if it is there; raise SettingsError.

    With `keys=False` files of secrets are not opened: for `init`, which makes them.
    """
    environ = os.environ if environ is None else environ
    faults: list[Fault] = []
    file = _find_file(config, environ, faults)
    folder = (file.parent if file else Path.cwd()).absolute()
    reading = _Reading(folder, str(file) if file else "default")
    if file is not None:
        _read_file(file, reading)
    _overlay(environ, reading)
    _load_secrets(reading, keys)
    _place_paths(reading)
    _ask_needed(reading, keys)
    settings = _validate(reading)
    faults += reading.faults
    if faults or settings is None:
        raise SettingsError(faults)
    return Loaded(settings, file, folder, {".".join(path): source for path, source in reading.sources.items()})


@dataclass(slots=True)
class _Reading:
    """Settings while they are being put together."""

    folder: Path
    file: str
    tree: dict[str, Any] = field(default_factory=dict)
    sources: dict[Path_, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def source(self, path: Path_) -> str:
        """Return where a key came from; of a missing one, where it was to be expected."""
        return self.sources.get(path, self.file)

    def fault(self, path: Path_, problem: str, fix: str, source: str | None = None) -> None:
        self.faults.append(Fault(".".join(path), source or self.source(path), problem, fix))

    def sections(self) -> Iterator[tuple[Path_, dict[str, Any], type[Section] | None]]:
        """Give each table with its path and its model (None for a destination of an unknown kind)."""
        for name, model in Settings.model_fields.items():
            table = self.tree.get(name)
            if name == "destinations" and isinstance(table, dict):
                for destination, keys in table.items():
                    if isinstance(keys, dict):
                        yield (name, destination), keys, _KINDS.get(str(keys.get("kind")))
            elif isinstance(model.annotation, type) and issubclass(model.annotation, Section):
                found = self.tree.setdefault(name, {})
                if isinstance(found, dict):  # what is no table is told of when all is checked
                    yield (name,), found, model.annotation


def _find_file(config: Path | None, environ: Mapping[str, str], faults: list[Fault]) -> Path | None:
    named = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    file = named or Path(DEFAULT_FILE)
    if file.is_file():
        return file.absolute()
    if named is not None:
        how = "--config" if config else CONFIG_VARIABLE
        faults.append(
            Fault("settings file", how, f"there is no file {named}", "correct the path, or make one with `assent init`")
        )
    return None


def _read_file(file: Path, reading: _Reading) -> None:
    try:
        tree = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        where = f": {error}" if isinstance(error, tomllib.TOMLDecodeError) else ""
        reading.fault(("settings file",), f"it can't be read as TOML{where}", "correct that place")
        return
    for path, value in _leaves(tree):
        if _is_secret(path, tree, value):
            alone = path[-1] not in ("url", "portal_database_url")
            instead = f"name a file with `{path[-1]}_file`" if alone else "leave the password out of the URL"
            reading.fault(
                path, "a secret never stands in the settings file", f"{instead}, or set {_variable(path)}", str(file)
            )
            _pop(tree, path)
        else:
            reading.sources[path] = str(file)
    reading.tree = tree


def _overlay(environ: Mapping[str, str], reading: _Reading) -> None:
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        wanted = 3 if path[0] == "destinations" else 2
        if path[0] not in Settings.model_fields or len(path) != wanted or not all(path):
            known = [_variable((section, "KEY")) for section in Settings.model_fields]
            reading.fault(path, "unknown variable", _suggest(variable, known, "remove it"), variable)
            continue
        if wanted == 3:
            path = (path[0], _destination(reading.tree, path[1]), path[2])
        table = reading.tree
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                break
        else:
            table[path[-1]] = environ[variable]
            reading.sources[path] = variable


def _load_secrets(reading: _Reading, keys: bool) -> None:
    """Put the content of each secret's file in its place; a value from the environment goes before it."""
    for at, table, model in reading.sections():
        if model is None:
            continue
        for name in _secrets(model):
            path, named = (*at, name), table.get(f"{name}_file")
            if table.get(name) == "":
                reading.fault(path, "the secret is empty", "set it, or unset the variable")
            if name in table or not keys or not _enabled(table):
                continue
            default = _MADE_BY_INIT.get(".".join(path)) or _MADE_BY_INIT.get(f"{table.get('kind')}.{name}")
            if isinstance(named, str):
                table[name] = _read_secret(reading, (*at, f"{name}_file"), Path(named))
            elif default and (reading.folder / default).is_file():
                table[name] = _read_secret(reading, path, Path(default))


def _read_secret(reading: _Reading, path: Path_, named: Path) -> str | None:
    file = reading.folder / named.expanduser()
    try:
        secret = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else "the file can't be read"
        reading.fault(path, f"{why}: {file}", f"put the secret there, or set {_variable(path)[: -len('_FILE')]}")
        return None
    if not secret:
        reading.fault(path, f"the file is empty: {file}", "put the secret there")
        return None
    return secret


def _place_paths(reading: _Reading) -> None:
    """Make relative paths count from the settings file, those in an SQLite URL too."""
    for at, table, model in reading.sections():
        if model is None:
            continue
        for name, info in model.model_fields.items():
            path, value = (*at, name), table.get(name, info.default)
            if name in ("url", "portal_database_url") and at[0] in ("database", "server"):
                if isinstance(value, str):
                    table[name] = _placed_url(reading, path, value)
            elif "Path" in str(info.annotation) and isinstance(value, str | Path) and str(value):
                table[name] = reading.folder / Path(value).expanduser()
                if name in _FILES and not table[name].is_file() and _enabled(table):
                    reading.fault(path, f"there is no such file: {table[name]}", _FILES[name])


def _placed_url(reading: _Reading, path: Path_, url: str) -> str:
    if not url.startswith("sqlite:///"):
        try:
            make_url(url)
        except ArgumentError:
            reading.fault(path, "it can't be read as a database URL", "write postgresql://user@host/name")
        return url
    name, _, options = url.removeprefix("sqlite:///").partition("?")
    return f"sqlite:///{reading.folder / Path(name).expanduser()}" + (f"?{options}" if options else "")


def _ask_needed(reading: _Reading, keys: bool) -> None:
    for at, table, model in reading.sections():
        kind = str(table.get("kind"))
        if model is None or kind not in _WAY or not _enabled(table):
            continue
        key, usual = _WAY[kind]
        for name in _NEEDED.get((kind, str(table.get(key, usual))), ()):
            secret = name in _secrets(model)
            instead = _INSTEAD.get(name, name)
            if (secret and not keys) or not table.keys().isdisjoint({name, instead, f"{name}_file", f"{instead}_file"}):
                continue
            named = f"{name}_file" if secret else name
            also = f" (or {instead}_file)" if instead != name else ""
            reading.fault((*at, named), "it is missing", f"set it{also}, or {_variable((*at, name))}")


def _validate(reading: _Reading) -> Settings | None:
    try:
        return Settings.model_validate(reading.tree)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_context=False, include_input=False):
            _tell(reading, tuple(str(part) for part in found["loc"]), found["type"], found["msg"])
        return None


def _tell(reading: _Reading, path: Path_, kind: str, message: str) -> None:
    """Turn one of pydantic's errors into a fault (its message never quotes the value)."""
    if path[0] == "destinations" and path[-1] == "[key]":
        fix = "name it with small letters, digits, - and _, a letter first, 64 at most"
        reading.fault(path[:2], "bad name", fix)
        return
    if path[0] == "destinations" and len(path) > 2:
        path = path[:2] + path[3:]  # the third is the kind, by which pydantic chose the model
    if kind.startswith("union_tag"):
        kinds = ", ".join(f'"{name}"' for name in _KINDS)
        reading.fault((*path, "kind"), "unknown or missing kind", f"use one of {kinds}")
        return
    model = _model_at(path[:-1], reading.tree)
    if kind == "extra_forbidden":
        known = [info.alias or name for name, info in model.model_fields.items()] if model else []
        reading.fault(path, "unknown key", _suggest(path[-1], known, "remove it"))
        return
    path = tuple(part for part in path if not part.isdigit())  # of a list, name the list
    if kind == "model_type" or message.startswith("Input should be a valid dictionary"):
        reading.fault(path, "it is a value, and should be a table", f"write its keys below a line [{'.'.join(path)}]")
        return
    model = _model_at(path[:-1], reading.tree)
    info = next((i for name, i in model.model_fields.items() if path[-1] in (name, i.alias)), None) if model else None
    examples = f"write it like {' or '.join(map(str, info.examples))}" if info and info.examples else ""
    problem = "bad value" if kind == "string_pattern_mismatch" and examples else f"bad value: {message}"
    reading.fault(path, problem, examples or (info and info.description) or "correct it")


def _model_at(path: Path_, tree: Mapping[str, Any]) -> type[Section] | None:
    if not path:
        return Settings
    if path[0] == "destinations":
        table = tree["destinations"].get(path[1], {}) if len(path) > 1 else {}
        return _KINDS.get(str(table.get("kind"))) if isinstance(table, dict) else None
    info = Settings.model_fields.get(path[0])
    return info.annotation if info and isinstance(info.annotation, type) and len(path) == 1 else None


def _secrets(model: type[Section]) -> list[str]:
    return [name for name, info in model.model_fields.items() if info.annotation == SecretStr | None]


def _is_secret(path: Path_, tree: Mapping[str, Any], value: Any) -> bool:
    if path[-1] in ("url", "portal_database_url") and isinstance(value, str) and "://" in value:
        try:
            return bool(make_url(value).password)
        except (ArgumentError, ValueError):
            return False
    model = _model_at(path[:-1], tree)
    # A destination whose kind is mistyped still mustn't hold one.
    models = [model] if model else [*_KINDS.values()] if path[0] == "destinations" else []
    return any(path[-1] in _secrets(one) for one in models)


def _enabled(table: Mapping[str, Any]) -> bool:
    return str(table.get("enabled", True)).lower() not in ("false", "0", "no", "off", "f", "n")


def _leaves(tree: Mapping[str, Any], at: Path_ = ()) -> list[tuple[Path_, Any]]:
    found: list[tuple[Path_, Any]] = []
    for name, value in tree.items():
        if isinstance(value, dict) and len(at) < 2:
            found += _leaves(value, (*at, name))
        else:
            found.append(((*at, name), value))
    return found


def _pop(tree: dict[str, Any], path: Path_) -> None:
    for part in path[:-1]:
        tree = tree[part]
    tree.pop(path[-1])


def _destination(tree: Mapping[str, Any], name: str) -> str:
    """Return the destination that a variable means: names of variables have no `-`."""
    known = tree.get("destinations")
    names = known if isinstance(known, dict) else {}
    return next((one for one in names if one.replace("-", "_") == name), name)


def _variable(path: Path_) -> str:
    return PREFIX + "__".join(part.upper().replace("-", "_") for part in path)


def _suggest(name: str, known: list[str], otherwise: str) -> str:
    close = get_close_matches(name, known, 1)
    return f"did you mean `{close[0]}`?" if close else f"{otherwise}; known are {', '.join(known)}"

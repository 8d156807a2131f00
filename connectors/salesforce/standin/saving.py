"""Saving records: read every value, check every row, then write the good ones in one transaction.

The order of checks is that of the Apex Developer Guide, "Triggers and Order of Execution": types, lengths and
required fields first, then validation rules, then unique fields, then the save.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.salesforce.standin.answers import RowError, RowRefusedError, bad_request
from connectors.salesforce.standin.rows import Row, Rows
from connectors.salesforce.standin.schema import Field, ObjectType, Schema
from connectors.salesforce.standin.values import Reader, Stored, make_reader, wrong_type

#: Asked for each row that is about to be saved; the error that someone armed for it, or None.
RowFaults = Callable[[str], RowError | None]


@dataclass(slots=True)
class Draft:
    """One record on its way in."""

    #: Its external id as stored, or what finds it otherwise.
    key: Stored
    values: dict[str, Stored]
    errors: list[RowError] = field(default_factory=list)
    before: Row | None = None
    number: int | None = None

    @property
    def after(self) -> Mapping[str, Stored]:
        """The record as it would stand."""
        return self.values if self.before is None else {**self.before.values, **self.values}

    def sets(self, name: str) -> bool:
        """True where the field gets a value that it did not have."""
        value = self.values.get(name)
        return value is not None and (self.before is None or self.before.values[name] != value)

    def changes(self) -> dict[str, Stored]:
        """The values that would become others."""
        if self.before is None:
            return self.values
        before = self.before.values
        return {name: value for name, value in self.values.items() if before[name] != value}


class Saving:
    """Reads and saves drafts of any object of the schema."""

    def __init__(self, schema: Schema, rows: Rows, line_ends: Callable[[], str], row_faults: RowFaults) -> None:
        self._schema = schema
        self._rows = rows
        self._row_faults = row_faults
        self._readers: dict[str, dict[str, Reader]] = {
            each.name: {name: make_reader(one, line_ends) for name, one in each.fields.items() if one.writable}
            for each in schema
        }
        self._required = {each.name: [one.name for one in each.fields.values() if one.required] for each in schema}
        self._defaults: dict[str, dict[str, Stored]] = {
            each.name: {
                name: one.default for name, one in each.fields.items() if one.default is not None and one.writable
            }
            for each in schema
        }

    def draft(self, kind: ObjectType, record: Mapping[str, object], key_field: Field | None = None) -> Draft:
        """Read one JSON record.

        Raises: RequestError where a field is unknown or a value's type is wrong: both fail the whole request.
        """
        readers = self._readers[kind.name]
        try:
            values: dict[str, Stored] = {
                name: readers[name](given) for name, given in record.items() if name != "attributes"
            }
            draft = Draft(None, values)
        except (KeyError, TypeError, RowRefusedError):
            draft = self._draft_slowly(kind, record)  # something is odd: find out what, field by field
        if key_field is not None and not draft.errors:
            draft.key = draft.values.get(key_field.name)
            if draft.key is None:
                draft.errors.append(RowError("MISSING_ARGUMENT", f"{key_field.name} not specified", (key_field.name,)))
        return draft

    def _draft_slowly(self, kind: ObjectType, record: Mapping[str, object]) -> Draft:
        draft, locked = Draft(None, {}), []
        for name, given in record.items():
            if name == "attributes":
                continue
            one = kind.field(name)
            if one is None:
                raise bad_request("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind.name}")
            if one.type == "Id":
                raise bad_request("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
            if not one.writable:
                locked.append(one.name)
                continue
            if isinstance(given, (list, dict)):
                raise wrong_type(one, given)
            try:
                draft.values[one.name] = self._readers[kind.name][one.name](given)
            except RowRefusedError as refused:
                draft.errors.append(refused.error)
        if locked:
            message = (
                f"Unable to create/update fields: {', '.join(locked)}. Please check the security settings of this "
                "field and verify that it is read/write for your profile or permission set."
            )
            draft.errors.append(RowError("INVALID_FIELD_FOR_INSERT_UPDATE", message, tuple(locked)))
        return draft

    def read_value(self, kind: ObjectType, one: Field, given: object) -> Stored:
        """One value as the field keeps it; None where it can't."""
        try:
            return self._readers[kind.name][one.name](given)
        except RowRefusedError:
            return None

    def match(self, kind: ObjectType, key_field: Field, drafts: Sequence[Draft]) -> None:
        """Find the record that each draft means by its external id."""
        sound = [each for each in drafts if not each.errors]
        counts = Counter(_folded(key_field, each.key) for each in sound)
        found: dict[Stored, list[Row]] = {}
        for row in self._rows.find(kind, key_field, [each.key for each in sound]):
            found.setdefault(_folded(key_field, row.values[key_field.name]), []).append(row)
        for each in sound:
            key = _folded(key_field, each.key)
            matches = found.get(key, [])
            if counts[key] > 1:
                each.errors.append(
                    RowError("DUPLICATE_VALUE", f"Duplicate external id specified: {each.key}", (key_field.name,))
                )
            elif len(matches) > 1:
                message = (
                    f"{key_field.name}: more than one record found for external id field: {_ids(self, kind, matches)}"
                )
                each.errors.append(RowError("DUPLICATE_EXTERNAL_ID", message, (key_field.name,)))
            elif matches:
                each.before = matches[0]
                each.number = matches[0].number

    def save(self, kind: ObjectType, drafts: Sequence[Draft], *, all_or_none: bool) -> None:
        """Check the drafts and write the sound ones; afterwards each has its number or its errors.

        To be called inside a transaction of the rows.
        """
        for each in drafts:
            if each.errors:
                continue
            error = self._row_faults(str(each.key))
            if error is not None:
                each.errors.append(error)
            else:
                self._check(kind, each)
        self._check_lookups(kind, drafts)
        self._check_unique(kind, drafts)
        if all_or_none and any(each.errors for each in drafts):
            return
        new = [each for each in drafts if not each.errors and each.before is None]
        if new:
            for draft, number in zip(
                new, self._rows.insert(kind, [self._named(kind, each) for each in new]), strict=True
            ):
                draft.number = number
        self._rows.update(
            kind,
            [(each.before.number, each.changes()) for each in drafts if each.before is not None and not each.errors],
        )

    def _check(self, kind: ObjectType, draft: Draft) -> None:
        if draft.before is None:
            draft.values = self._defaults[kind.name] | draft.values
        after = draft.after
        missing = [name for name in self._required[kind.name] if after.get(name) is None]
        if missing:
            message = f"Required fields are missing: [{', '.join(missing)}]"
            draft.errors.append(RowError("REQUIRED_FIELD_MISSING", message, tuple(missing)))
            return
        before = None if draft.before is None else draft.before.values
        draft.errors += [
            RowError(
                "FIELD_CUSTOM_VALIDATION_EXCEPTION", rule.message, (rule.display_field,) if rule.display_field else ()
            )
            for rule in kind.rules
            if rule.condition.evaluate(before, after)
        ]

    def _check_unique(self, kind: ObjectType, drafts: Sequence[Draft]) -> None:
        for one in kind.fields.values():
            if not one.unique:
                continue
            holders: dict[Stored, int | None] = {}
            changed = [each for each in drafts if not each.errors and each.sets(one.name)]
            for row in self._rows.find(kind, one, [each.values[one.name] for each in changed], whole=False):
                holders[_folded(one, row.values[one.name])] = row.number
            for each in changed:
                value = _folded(one, each.values[one.name])
                if value in holders and (holders[value] is None or holders[value] != each.number):
                    holder = holders[value]
                    of = "<unknown>" if holder is None else self._rows.id_of(kind, holder)
                    message = f"duplicate value found: {one.name} duplicates value on record with id: {of}"
                    each.errors.append(RowError("DUPLICATE_VALUE", message))
                else:
                    holders.setdefault(value, each.number)

    def _check_lookups(self, kind: ObjectType, drafts: Sequence[Draft]) -> None:
        for one in kind.fields.values():
            if not one.reference_to or not one.writable:
                continue
            target = self._schema.objects[one.reference_to]
            for each in drafts:
                record_id = each.values.get(one.name)
                if record_id is None or each.errors:
                    continue
                number = self._rows.number_of(target, str(record_id))
                if number is None:
                    message = f"{one.label}: id value of incorrect type: {record_id}"
                    each.errors.append(RowError("MALFORMED_ID", message, (one.name,)))
                elif not [row for row in self._rows.get(target, [number]) if not row.values["IsDeleted"]]:
                    each.errors.append(RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"))

    def _named(self, kind: ObjectType, draft: Draft) -> dict[str, Stored]:
        if "LastName" in kind.fields:
            names = [draft.values.get("FirstName"), draft.values.get("LastName")]
            draft.values["Name"] = " ".join(str(each) for each in names if each)
        return draft.values


def _ids(saving: Saving, kind: ObjectType, rows: Sequence[Row]) -> str:
    return ", ".join(saving._rows.id_of(kind, each.number) for each in rows)


def _folded(one: Field, value: Stored) -> Stored:
    """What counts as the same value: the case of letters only where the field is case-sensitive."""
    return value.lower() if isinstance(value, str) and not one.case_sensitive else value

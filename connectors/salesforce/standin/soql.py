"""SOQL, the part that a sync needs, compiled to conditions over the org's tables.

`SELECT fields | COUNT() | aggregates FROM object [WHERE …] [GROUP BY fields [HAVING …]] [ORDER BY …] [LIMIT n]`,
where a condition is `=`, `!=`, `<>`, `<`, `<=`, `>`, `>=`, `LIKE`, `IN`, `NOT IN` joined by AND, OR, NOT and brackets
(SOQL and SOSL Reference). Relationships, subqueries, OFFSET, date words and the rest are refused
with MALFORMED_QUERY: better no answer than a wrong one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from connectors.salesforce.standin.answers import RequestError, bad_request
from connectors.salesforce.standin.schema import Field, ObjectType, Schema
from connectors.salesforce.standin.values import Stored, parse_date, parse_datetime, with_checksum

#: (object, 15 or 18 characters) → the record's number, or None for an id of another object.
NumberOf = Callable[[ObjectType, str], int | None]


@dataclass(frozen=True, slots=True)
class Query:
    """A query, read: SQL pieces with their values."""

    kind: ObjectType
    fields: tuple[Field, ...]
    #: (name in the answer, SQL, field) for an aggregate query; empty for one that gives records.
    columns: tuple[tuple[str, str, Field | None], ...]
    count_only: bool
    condition: str
    values: tuple[Stored, ...]
    #: GROUP BY with HAVING and its values, for an aggregate query.
    groups: str
    group_values: tuple[Stored, ...]
    order: str
    limit: int | None
    deleted_too: bool

    @property
    def rest(self) -> str:
        return self.order + ("" if self.limit is None else f" LIMIT {self.limit}")


def parse_soql(text: str, schema: Schema, number_of: NumberOf, *, deleted_too: bool) -> Query:
    """Read a query.

    Raises: RequestError with MALFORMED_QUERY, INVALID_FIELD or INVALID_TYPE.
    """
    if len(text) > _LONGEST:
        raise bad_request("QUERY_TOO_COMPLICATED", "SOQL statements cannot be longer than 100000 characters.")
    return _Parser(text, schema, number_of).query(deleted_too=deleted_too)


_LONGEST = 100_000
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>'(?:[^'\\]|\\.)*')
      | (?P<datetime>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d))
      | (?P<date>\d{4}-\d\d-\d\d)
      | (?P<number>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<name>[A-Za-z]\w*(?:\.\w+)*)
      | (?P<operator><=|>=|!=|<>|[=<>(),])
      | (?P<end>$)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\", "_": "_", "%": "%"}
_AGGREGATES = {"COUNT": "count({})", "COUNT_DISTINCT": "count(DISTINCT {})", "MIN": "min({})", "MAX": "max({})"}
_AGGREGATES |= {"SUM": "sum({})", "AVG": "avg({})"}
_OPERATORS = {"=", "!=", "<>", "<", "<=", ">", ">="}
_CLAUSES = {"FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "AND", "OR", "ASC", "DESC", "NULLS"}


class _Parser:
    def __init__(self, text: str, schema: Schema, number_of: NumberOf) -> None:
        self._text = text
        self._schema = schema
        self._number_of = number_of
        self._tokens = self._scan(text)
        self._kind: ObjectType

    def query(self, *, deleted_too: bool) -> Query:
        self._keyword("SELECT")
        chosen = self._choices()
        self._keyword("FROM")
        name = self._name()
        kind = self._schema.object(name)
        if kind is None:
            raise bad_request("INVALID_TYPE", _NO_TYPE.format(name=name))
        self._kind = kind
        values: list[Stored] = []
        condition = self._either(values) if self._word("WHERE") else "1"
        if not deleted_too:
            condition = f'({condition}) AND "IsDeleted" = 0'
        group_values: list[Stored] = []
        grouped, groups = self._groups(group_values)
        order = self._order()
        limit = self._limit()
        self._expect("end", "")
        count_only = chosen == [("COUNT", None)]
        if count_only and grouped:
            raise bad_request("MALFORMED_QUERY", "Grouped query must use COUNT(fieldName)")
        aggregates = count_only or bool(grouped) or any(function for function, _ in chosen)
        columns = tuple(self._columns(chosen, grouped)) if aggregates and not count_only else ()
        fields = () if aggregates else tuple(self._field(each or "") for _, each in chosen)
        return Query(
            kind=kind,
            fields=fields,
            columns=columns,
            count_only=count_only,
            condition=condition,
            values=tuple(values),
            groups=groups,
            group_values=tuple(group_values),
            order=order,
            limit=limit,
            deleted_too=deleted_too,
        )

    def _choices(self) -> list[tuple[str, str | None]]:
        """(aggregate function or '', field or None for `COUNT()`), as they stand."""
        chosen: list[tuple[str, str | None]] = []
        while True:
            name = self._name()
            if self._operator("("):
                if name.upper() not in _AGGREGATES:
                    raise self._unexpected(name)
                bare = name.upper() == "COUNT" and self._operator(")")
                chosen.append((name.upper(), None if bare else self._name()))
                if not bare:
                    self._expect("operator", ")")
            else:
                chosen.append(("", name))
            if not self._operator(","):
                return chosen

    def _columns(
        self, chosen: list[tuple[str, str | None]], grouped: list[Field]
    ) -> list[tuple[str, str, Field | None]]:
        columns: list[tuple[str, str, Field | None]] = []
        for function, name in chosen:
            if name is None:
                raise self._unexpected("COUNT()")
            one = self._field(name)
            if not function:
                if one not in grouped:
                    raise bad_request("MALFORMED_QUERY", f"Field must be grouped or aggregated: {one.name}")
                columns.append((one.name, _sql(one), one))
                continue
            if function in {"SUM", "AVG"} and one.type != "Number":
                raise bad_request("MALFORMED_QUERY", f"field {one.name} does not support aggregate operator {function}")
            alias = f"expr{sum(1 for each in columns if each[0].startswith('expr'))}"
            kept = None if function in {"COUNT", "COUNT_DISTINCT", "SUM", "AVG"} else one
            columns.append((alias, _AGGREGATES[function].format(_sql(one)), kept))
        return columns

    def _groups(self, values: list[Stored]) -> tuple[list[Field], str]:
        if not self._word("GROUP"):
            return [], ""
        self._keyword("BY")
        fields = [self._filterable("grouped")]
        while self._operator(","):
            fields.append(self._filterable("grouped"))
        having = ""
        if self._word("HAVING"):
            function = self._name().upper()
            if function not in _AGGREGATES or not self._operator("("):
                raise self._unexpected(function)
            expression = _AGGREGATES[function].format(_sql(self._field(self._name())))
            self._expect("operator", ")")
            operator, number = self._tokens.pop(0)[1], self._expect("number")
            if operator not in _OPERATORS:
                raise self._unexpected(operator)
            having = f" HAVING {expression} {operator} ?"
            values.append(float(number))
        return fields, f" GROUP BY {', '.join(map(_sql, fields))}{having}"

    def _order(self) -> str:
        if not self._word("ORDER"):
            return ""
        self._keyword("BY")
        terms = []
        while True:
            one = self._filterable("sorted")
            direction = "DESC" if self._word("DESC") else "ASC"
            self._word("ASC")
            nulls = "FIRST"
            if self._word("NULLS"):
                nulls = self._name().upper()
                if nulls not in {"FIRST", "LAST"}:
                    raise self._unexpected(nulls)
            # SOQL sorts nulls first in both directions, SQLite only upwards.
            terms.append(f"{_sql(one)} {direction} NULLS {nulls}")
            if not self._operator(","):
                return f" ORDER BY {', '.join(terms)}"

    def _limit(self) -> int | None:
        return int(self._expect("number")) if self._word("LIMIT") else None

    def _either(self, values: list[Stored]) -> str:
        """SOQL refuses AND beside OR without brackets, so that nobody guesses which binds closer."""
        first = self._negation(values)
        for joiner, other in (("AND", "OR"), ("OR", "AND")):
            terms = [first]
            while self._word(joiner):
                terms.append(self._negation(values))
            if len(terms) > 1:
                if self._peek() == other:
                    raise self._unexpected(other)
                return "(" + f" {joiner} ".join(terms) + ")"
        return first

    def _negation(self, values: list[Stored]) -> str:
        if self._word("NOT"):
            return f"NOT coalesce({self._negation(values)}, 0)"
        if self._operator("("):
            inner = self._either(values)
            self._expect("operator", ")")
            return inner
        return self._comparison(values)

    def _comparison(self, values: list[Stored]) -> str:
        one = self._filterable("filtered")
        column = _sql(one)
        negated = self._word("NOT")
        if self._word("IN"):
            self._expect("operator", "(")
            given = [self._literal(one)]
            while self._operator(","):
                given.append(self._literal(one))
            self._expect("operator", ")")
            values += given
            marks = ",".join("?" * len(given))
            return f"({column} IS NULL OR {column} NOT IN ({marks}))" if negated else f"{column} IN ({marks})"
        if negated:
            raise self._unexpected("NOT")
        if self._word("LIKE"):
            pattern = self._tokens[0][1]
            if not one.textual or self._tokens.pop(0)[0] != "string":
                raise bad_request("INVALID_FIELD", f"invalid operator on {one.name}: LIKE needs a text")
            values.append(_like(pattern[1:-1]))
            return f"{column} LIKE ? ESCAPE '\\'"
        kind, operator = self._tokens.pop(0)
        if kind != "operator" or operator not in _OPERATORS:
            raise self._unexpected(operator)
        values.append(self._literal(one))
        if operator == "=":
            return f"{column} IS ?"
        if operator in {"!=", "<>"}:
            return f"{column} IS NOT ?"
        return f"{column} {operator} ?"

    def _literal(self, one: Field) -> Stored:
        """One literal, of the field's own type (SOQL and SOSL Reference, "fieldExpression Syntax")."""
        kind, token = self._tokens.pop(0)
        if kind == "name" and token.lower() == "null":
            return None
        if one.type in {"Id", "Lookup"} and kind == "string":
            return self._id_literal(one, token[1:-1])
        if one.textual and kind == "string":
            return _unescape(token[1:-1])
        if one.type == "Number" and kind == "number":
            return float(token)
        if one.type == "Checkbox" and kind == "name" and token.lower() in {"true", "false"}:
            return int(token.lower() == "true")
        read: Stored = None
        if one.type == "DateTime" and kind == "datetime":
            read = parse_datetime(token)
        elif one.type == "Date" and kind == "date":
            read = parse_date(token)
        if read is None:
            if kind in {"operator", "end"}:
                raise self._unexpected(token)
            quoted = "should" if one.textual or one.type in {"Id", "Lookup"} else "should not"
            wanted = {"DateTime": "dateTime", "Number": "double", "Checkbox": "boolean", "Date": "date"}
            message = (
                f"value of filter criterion for field '{one.name}' must be of type "
                f"{wanted.get(one.type, 'string')} and {quoted} be enclosed in quotes"
            )
            raise bad_request("INVALID_FIELD", message)
        return read

    def _id_literal(self, one: Field, text: str) -> Stored:
        if len(text) not in {15, 18} or not text.isalnum():
            raise bad_request("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {text}")
        if one.type == "Id":
            number = self._number_of(self._kind, text)
            return -1 if number is None else number
        return with_checksum(text[:15])

    def _filterable(self, use: str) -> Field:
        one = self._field(self._name())
        if not one.filterable:
            raise bad_request("INVALID_FIELD", f"field '{one.name}' can not be {use} in a query call")
        return one

    def _field(self, name: str) -> Field:
        one = self._kind.field(name)
        if one is None:
            message = (
                f"ERROR at Row:1:Column:{self._text.find(name) + 1}\nNo such column '{name}' on entity "
                f"'{self._kind.name}'. If you are attempting to use a custom field, be sure to append the '__c' after "
                "the custom field name. Please reference your WSDL or the describe call for the appropriate names."
            )
            raise bad_request("INVALID_FIELD", message)
        return one

    def _name(self) -> str:
        kind, token = self._tokens.pop(0)
        if kind != "name" or token.upper() in _CLAUSES:
            raise self._unexpected(token)
        return token

    def _peek(self) -> str:
        return self._tokens[0][1].upper()

    def _word(self, word: str) -> bool:
        if self._tokens[0][0] == "name" and self._peek() == word:
            self._tokens.pop(0)
            return True
        return False

    def _operator(self, operator: str) -> bool:
        if self._tokens[0] == ("operator", operator):
            self._tokens.pop(0)
            return True
        return False

    def _keyword(self, word: str) -> None:
        if not self._word(word):
            raise self._unexpected(self._tokens[0][1])

    def _expect(self, kind: str, token: str | None = None) -> str:
        found_kind, found = self._tokens.pop(0)
        if found_kind != kind or (token is not None and found != token):
            raise self._unexpected(found)
        return found

    @staticmethod
    def _unexpected(token: str) -> RequestError:
        return bad_request("MALFORMED_QUERY", f"unexpected token: {token or '<EOF>'}")

    @staticmethod
    def _scan(text: str) -> list[tuple[str, str]]:
        tokens, at = [], 0
        while True:
            match = _TOKEN.match(text, at)
            if match is None:
                raise bad_request("MALFORMED_QUERY", f"unexpected token: {text[at : at + 1]}")
            kind = match.lastgroup or "end"
            tokens.append((kind, match[kind]))
            if kind == "end":
                return tokens + [("end", "")] * 3  # so that looking one further never runs out
            at = match.end()


_NO_TYPE = (
    "sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to append the "
    "'__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names."
)


def _sql(one: Field) -> str:
    return "rowid" if one.type == "Id" else f'"{one.name}"'


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise bad_request("MALFORMED_QUERY", f"Invalid string literal: illegal character sequence \\{match[1]}")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", character, text, flags=re.DOTALL)


def _like(pattern: str) -> str:
    """SOQL's `%`, `_` and backslash mean in SQL what they mean here, but for the other escapes."""
    return re.sub(r"\\([^_%\\])", lambda match: _unescape(match[0]), pattern)

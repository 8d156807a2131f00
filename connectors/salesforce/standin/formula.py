"""Validation formulas: the functions that a consent package uses, compiled to plain calls.

Meaning from Salesforce Help, "Formula Operators and Functions"; a function that is not in `_FUNCTIONS`
is refused when the package is loaded, because a rule half understood would prove nothing.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import ne

Record = Mapping[str, object]
#: (the record before or None where it is new, the record after) → value
_Node = Callable[[Record | None, Record], object]


class FormulaError(Exception):
    """The formula can't be read, or uses what is not served."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A compiled formula; fields are looked up by API name."""

    source: str
    node: _Node

    def evaluate(self, before: Record | None, after: Record) -> object:
        """The formula's value for a record that is about to be saved."""
        return self.node(before, after)


def parse_formula(source: str, types: Mapping[str, str]) -> Formula:
    """Compile a formula over fields of these metadata types.

    Raises: FormulaError naming the word that isn't served.
    """
    parser = _Parser(source, types)
    node = parser.either()
    parser.expect("")
    return Formula(source, node)


_TOKEN = re.compile(
    r"""\s*(?:/\*.*?\*/\s*)*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>\d+(?:\.\d+)?)
      | (?P<name>\$?[A-Za-z_][\w.]*)
      | (?P<operator>\|\||&&|<>|!=|<=|>=|==|[-+=<>()!,&])
      | (?P<end>$)
    )""",
    re.VERBOSE | re.DOTALL,
)


class _Parser:
    """Recursive descent, loosest first: or, and, comparison, sum, one value."""

    def __init__(self, source: str, types: Mapping[str, str]) -> None:
        self._tokens = self._scan(source)
        self._types = types
        self._by_lower_name = {name.lower(): name for name in types}

    def either(self) -> _Node:
        node = self._both()
        while self._take("||"):
            node = _or([node, self._both()])
        return node

    def expect(self, wanted: str) -> None:
        kind, word = self._tokens.pop(0)
        if word != wanted or kind == "string":
            raise FormulaError(f"the formula has {word or 'its end'!r} where {wanted or 'its end'!r} was meant")

    def _both(self) -> _Node:
        node = self._comparison()
        while self._take("&&"):
            node = _and([node, self._comparison()])
        return node

    def _comparison(self) -> _Node:
        left = self._sum()
        for operator, compare in _COMPARISONS.items():
            if self._take(operator):
                return _compare(compare, left, self._sum())
        return left

    def _sum(self) -> _Node:
        node = self._value()
        while True:
            if self._take("&"):
                node = _join(node, self._value())
            elif self._take("+"):
                node = _plus(node, self._value(), 1)
            elif self._take("-"):
                node = _plus(node, self._value(), -1)
            else:
                return node

    def _value(self) -> _Node:
        kind, word = self._tokens.pop(0)
        if kind == "string":
            text = re.sub(r"\\(.)", r"\1", word[1:-1])
            return lambda _before, _after: text
        if kind == "number":
            number = float(word)
            return lambda _before, _after: number
        if kind == "name":
            return self._named(word)
        if word == "(":
            node = self.either()
            self.expect(")")
            return node
        if word == "!":
            return _not([self._value()])
        if word == "-":
            return _plus(lambda _before, _after: 0.0, self._value(), -1)
        raise FormulaError(f"the formula has {word or 'its end'!r} where a value was meant")

    def _named(self, name: str) -> _Node:
        if self._take("("):
            return self._call(name.upper())
        if name.upper() in _CONSTANTS:
            constant = _CONSTANTS[name.upper()]
            return lambda _before, _after: constant
        if name.lower().startswith("$permission."):
            return lambda _before, _after: False  # nobody here holds a custom permission that would excuse them
        return self._field(name)

    def _field(self, name: str) -> _Node:
        found = self._by_lower_name.get(name.lower())
        if found is None:
            raise FormulaError(f"the formula names {name}, which is no field of the object")
        return _Field(found)

    def _call(self, function: str) -> _Node:
        arguments = []
        if not self._take(")"):
            arguments.append(self.either())
            while self._take(","):
                arguments.append(self.either())
            self.expect(")")
        if function not in _FUNCTIONS:
            raise FormulaError(f"the formula uses {function}(), which is not served")
        count, make = _FUNCTIONS[function]
        if count is not None and count != len(arguments):
            raise FormulaError(f"{function}() takes {count} arguments")
        for each in arguments:
            # Formula reference, "ISCHANGED" and "PRIORVALUE": an org refuses to deploy a rule that asks this.
            if function in _OF_THE_PAST and isinstance(each, _Field) and self._types[each.name] == "LongTextArea":
                raise FormulaError(f"{function}() can't be asked of {each.name}, a long text area")
        return make(arguments)

    def _take(self, operator: str) -> bool:
        if self._tokens[0] == ("operator", operator):
            self._tokens.pop(0)
            return True
        return False

    @staticmethod
    def _scan(source: str) -> list[tuple[str, str]]:
        tokens, at = [], 0
        while True:
            match = _TOKEN.match(source, at)
            if match is None:
                raise FormulaError(f"the formula can't be read from {source[at : at + 20]!r} on")
            kind = match.lastgroup or "end"
            tokens.append((kind, match[kind]))
            if kind == "end":
                return tokens
            at = match.end()


@dataclass(frozen=True, slots=True)
class _Field:
    """A field's value; ISCHANGED and PRIORVALUE ask which one it is."""

    name: str

    def __call__(self, _before: Record | None, after: Record) -> object:
        return after.get(self.name)


@dataclass(frozen=True, slots=True)
class _Changed:
    """ISCHANGED of one field, or of any of several; false when a record is created (Formula reference)."""

    names: tuple[str, ...]

    def __call__(self, before: Record | None, after: Record) -> object:
        return before is not None and any(map(ne, map(before.get, self.names), map(after.get, self.names)))


def _and(nodes: list[_Node]) -> _Node:
    def node(before: Record | None, after: Record) -> object:
        for each in nodes:  # noqa: SIM110 - twice as quick as all(), and asked for every row
            if not each(before, after):
                return False
        return True

    return node


def _or(nodes: list[_Node]) -> _Node:
    # An append-only rule asks for dozens of fields: one question instead of as many.
    names = [name for each in nodes if isinstance(each, _Changed) for name in each.names]
    others = [each for each in nodes if not isinstance(each, _Changed)]
    if names:
        others.insert(0, _Changed(tuple(names)))

    def node(before: Record | None, after: Record) -> object:
        for each in others:  # noqa: SIM110 - as above
            if each(before, after):
                return True
        return False

    return node


def _not(nodes: list[_Node]) -> _Node:
    (node,) = nodes
    return lambda before, after: not node(before, after)


def _is_new(_nodes: list[_Node]) -> _Node:
    return lambda before, _after: before is None


def _is_changed(nodes: list[_Node]) -> _Node:
    return _Changed((_field_name(nodes[0], "ISCHANGED"),))


def _prior_value(nodes: list[_Node]) -> _Node:
    """Formula reference, "PRIORVALUE": the value itself when a record is created."""
    name = _field_name(nodes[0], "PRIORVALUE")
    return lambda before, after: (after if before is None else before).get(name)


def _is_blank(nodes: list[_Node]) -> _Node:
    (node,) = nodes
    return lambda before, after: node(before, after) in (None, "")


def _is_picklist_value(nodes: list[_Node]) -> _Node:
    node, wanted = nodes
    return lambda before, after: (node(before, after) or "") == (wanted(before, after) or "")


def _text_of(nodes: list[_Node]) -> _Node:
    (node,) = nodes
    return lambda before, after: _as_text(node(before, after))


def _length(nodes: list[_Node]) -> _Node:
    (node,) = nodes
    return lambda before, after: float(len(_as_text(node(before, after))))


def _choose(nodes: list[_Node]) -> _Node:
    condition, yes, no = nodes
    return lambda before, after: (yes if condition(before, after) else no)(before, after)


def _compare(compare: Callable[[object, object], bool], left: _Node, right: _Node) -> _Node:
    def node(before: Record | None, after: Record) -> object:
        one, other = left(before, after), right(before, after)
        # Salesforce Help, "Tips for Working with Text Fields in Formulas": a blank text is the empty text.
        if isinstance(one, str) or isinstance(other, str):
            return compare(one or "", other or "")
        return compare(one, other)

    return node


def _ordered(compare: Callable[[float, float], bool]) -> Callable[[object, object], bool]:
    def ordered(one: object, other: object) -> bool:
        if not isinstance(one, (int, float)) or not isinstance(other, (int, float)):
            return False  # a blank number makes a comparison false
        return compare(one, other)

    return ordered


def _join(left: _Node, right: _Node) -> _Node:
    return lambda before, after: _as_text(left(before, after)) + _as_text(right(before, after))


def _plus(left: _Node, right: _Node, sign: int) -> _Node:
    def node(before: Record | None, after: Record) -> object:
        one, other = left(before, after), right(before, after)
        if isinstance(one, str) or isinstance(other, str):
            return _as_text(one) + _as_text(other)
        one, other = one or 0.0, other or 0.0
        if not isinstance(one, (int, float)) or not isinstance(other, (int, float)):
            raise FormulaError("the formula adds what is no number")
        return one + sign * other

    return node


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _field_name(node: _Node, function: str) -> str:
    if not isinstance(node, _Field):
        raise FormulaError(f"{function}() takes a field")
    return node.name


_CONSTANTS: dict[str, object] = {"TRUE": True, "FALSE": False, "NULL": None}

_COMPARISONS: dict[str, Callable[[object, object], bool]] = {
    "==": lambda one, other: one == other,
    "=": lambda one, other: one == other,
    "<>": lambda one, other: one != other,
    "!=": lambda one, other: one != other,
    "<=": _ordered(lambda one, other: one <= other),
    ">=": _ordered(lambda one, other: one >= other),
    "<": _ordered(lambda one, other: one < other),
    ">": _ordered(lambda one, other: one > other),
}

_OF_THE_PAST = {"ISCHANGED", "PRIORVALUE"}

#: Function → number of arguments (None: any), and what it compiles to.
_FUNCTIONS: dict[str, tuple[int | None, Callable[[list[_Node]], _Node]]] = {
    "AND": (None, _and),
    "OR": (None, _or),
    "NOT": (1, _not),
    "ISNEW": (0, _is_new),
    "ISCHANGED": (1, _is_changed),
    "PRIORVALUE": (1, _prior_value),
    "ISBLANK": (1, _is_blank),
    "ISNULL": (1, _is_blank),
    "ISPICKVAL": (2, _is_picklist_value),
    "TEXT": (1, _text_of),
    "LEN": (1, _length),
    "IF": (3, _choose),
}

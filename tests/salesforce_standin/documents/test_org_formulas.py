"""Validation formulas mean what Salesforce's help says they mean."""

import pytest

from connectors.salesforce.standin.formula import parse_formula

TYPES = {"A__c": "Text", "B__c": "Text", "N__c": "Number", "S__c": "Picklist"}
OLD = {"A__c": "x", "B__c": None, "N__c": 2.0, "S__c": "on"}


@pytest.mark.parametrize(
    ("formula", "before", "after", "value"),
    [
        ("ISNEW()", None, OLD, True),
        ("ISNEW()", OLD, OLD, False),
        ("ISCHANGED(A__c)", None, OLD, False),
        ("ISCHANGED(A__c)", OLD, OLD, False),
        ("ischanged(a__c)", OLD, {**OLD, "A__c": "y"}, True),
        ("OR(ISCHANGED(A__c), ISCHANGED(N__c))", OLD, {**OLD, "N__c": 3.0}, True),
        ("AND(NOT(ISNEW()), ISCHANGED(A__c) || ISCHANGED(B__c))", OLD, {**OLD, "B__c": "y"}, True),
        ("ISCHANGED(A__c) && !ISBLANK(A__c)", OLD, {**OLD, "A__c": None}, False),
        ("PRIORVALUE(A__c) = 'x' && A__c <> 'x'", OLD, {**OLD, "A__c": "y"}, True),
        ("ISBLANK(B__c) && ISNULL(B__c)", None, OLD, True),
        ("B__c = ''", None, OLD, True),
        ("N__c + 1 >= 3 && N__c - 1 < 2", None, OLD, True),
        ("-N__c = 0 - 2", None, OLD, True),
        ("N__c > 2", None, {**OLD, "N__c": None}, False),
        ('ISPICKVAL(S__c, "on")', None, OLD, True),
        ("TEXT(S__c) & '!' == \"on!\"", None, OLD, True),
        ("LEN(A__c) != 1", None, OLD, False),
        ("IF(ISNEW(), TRUE, FALSE) /* a remark */", None, OLD, True),
        ("$Permission.Assent_Repair", None, OLD, False),
        ("1 = 1 || 1 = 2 && 1 = 2", None, OLD, True),
    ],
)
def test_a_formula_is_evaluated(formula, before, after, value):
    assert bool(parse_formula(formula, TYPES).evaluate(before, after)) is value

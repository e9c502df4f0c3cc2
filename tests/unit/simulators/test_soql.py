# ruff: noqa: S608 - the strings are SOQL
"""SOQL: what is read, what is refused and where."""

import pytest
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.salesforce.queries import RefusedQueryError, ask, records
from plumbline_simulators.salesforce.soql import MalformedQueryError, parse


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("SELECT Id FRM User", 11, "unexpected token: 'FRM'"),
        ("SELECT Id FROM", 15, "unexpected token: '<EOF>'"),
        ("", 1, "unexpected token: '<EOF>'"),
        ("SELECT FROM User", 8, "unexpected token: 'FROM'"),
        ("SELECT * FROM User", 8, "unexpected token: '*'"),
        ("SELECT Id FROM User WHERE", 26, "unexpected token: '<EOF>'"),
        ("SELECT Id FROM User WHERE A = 1 AND B = 2 OR C = 3", 43, "unexpected token: 'OR'"),
        ('SELECT Id FROM User WHERE Name = "x"', 34, "unexpected token: '\"'"),
        ("SELECT Id FROM User LIMIT ten", 27, "unexpected token: 'ten'"),
        ("SELECT Id FROM User; DELETE", 20, "unexpected token: ';'"),
        ("DELETE FROM User", 1, "unexpected token: 'DELETE'"),
    ],
)
def test_what_is_not_soql_is_refused_with_its_place(text: str, column: int, said: str) -> None:
    with pytest.raises(MalformedQueryError) as caught:
        parse(text)
    shown, caret, place, reason = str(caught.value).split("\n")[1:]
    assert (shown, place, reason) == (text, f"ERROR at Row:1:Column:{column}", said)
    assert caret.index("^") == column - 1


@pytest.fixture(scope="module")
def org() -> Org:
    return Org(users=200)


def _ids(org: Org, clauses: str) -> list[int]:
    result = ask(org, f"SELECT Id FROM User {clauses}", tooling=False)
    assert result.selection is not None
    rows = list(records(result.selection.page(0, 2000), result, ""))
    assert len(rows) == result.total
    return [int(row["Id"][3:15]) for row in rows]


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ("WHERE UserType = 'guest'", [58, 117, 176]),
        ("WHERE UserType <> 'Standard'", [58, 117, 176]),
        ("where usertype != 'Standard'", [58, 117, 176]),
        ("WHERE NOT UserType = 'Standard'", [58, 117, 176]),
        ("WHERE Username LIKE 'user00001_@%'", list(range(10, 20))),
        ("WHERE Id IN ('005000000000003AAA', '005000000000005AAA')", [3, 5]),
        ("WHERE Id < '005000000000005AAA' AND Id NOT IN ('005000000000003AAA')", [0, 1, 2, 4]),
        ("WHERE Id >= '005000000000003AAA' AND Id <= '005000000000005AAA'", [3, 4, 5]),
        ("WHERE Id = '005000000000003AAA' OR (UserType = 'Guest' AND NOT Id > '005000000000058AAA')", [3, 58]),
        ("WHERE LastLoginDate = null", [102, 199]),
        ("WHERE IsActive = false", []),
        ("ORDER BY Id DESC LIMIT 2", [199, 198]),
        ("ORDER BY Id LIMIT 2 OFFSET 3", [3, 4]),
        ("WHERE UserType = 'Guest' ORDER BY UserType, Id DESC", [176, 117, 58]),
        ("WHERE UserType = 'Guest' LIMIT 2 OFFSET 2", [176]),
        ("WHERE Profile.Name = 'System Administrator' AND Id > '005000000000010AAA'", [11, 12]),
        ("WHERE CreatedDate = LAST_N_DAYS:43", [0, 1, 2, 3]),
        ("WHERE CreatedDate > LAST_N_DAYS:500", []),
        ("WHERE CreatedDate < LAST_N_DAYS:235", list(range(196, 200))),
        ("WHERE CreatedDate < 1999-01-01T00:00:00Z", []),
        ("WHERE CreatedDate > 1999-01-01 AND Id < '005000000000002AAA'", [0, 1]),
        ("WHERE Id IN (SELECT GuestUserId FROM Site WHERE Status = 'Active')", [58]),
        ("WHERE UserType = 'Guest' AND Id NOT IN (SELECT GuestUserId FROM Site)", [117, 176]),
    ],
)
def test_the_rows_that_a_query_means_are_found(clauses: str, expected: list[int], org: Org) -> None:
    assert _ids(org, clauses) == expected


@pytest.mark.parametrize(
    "clauses", ["", "WHERE UserType = 'Guest'", "WHERE Id > '005000000000100AAA'", "LIMIT 7 OFFSET 3"]
)
def test_a_count_is_the_number_of_rows(clauses: str, org: Org) -> None:
    assert ask(org, f"SELECT COUNT() FROM User {clauses}", tooling=False).total == len(_ids(org, clauses))


def test_going_back_in_a_result_gives_the_same_rows(org: Org) -> None:
    selection = ask(org, "SELECT Id FROM User WHERE UserType = 'Standard'", tooling=False).selection
    assert selection is not None
    first, second = selection.page(0, 20), selection.page(20, 20)
    assert selection.page(0, 20) == first
    assert selection.page(20, 20) == second


def test_a_condition_on_a_shared_record_is_judged_for_each_of_them(org: Org) -> None:
    held = " OR ".join(
        f"PermissionSet.Permissions{name} = true" for name in ("ModifyAllData", "ViewAllData", "AuthorApex")
    )
    result = ask(org, f"SELECT AssigneeId FROM PermissionSetAssignment WHERE {held}", tooling=False)
    assert result.selection is not None
    assert {row["AssigneeId"] for row in result.selection} == {f"005{number:012d}AAA" for number in range(13)}


def test_an_unknown_word_among_many_is_pointed_at(org: Org) -> None:
    with pytest.raises(RefusedQueryError) as caught:
        ask(org, "SELECT Id, Foo FROM User", tooling=False)
    assert caught.value.code == "INVALID_FIELD"
    assert "ERROR at Row:1:Column:12\nNo such column 'Foo' on entity 'User'." in caught.value.message

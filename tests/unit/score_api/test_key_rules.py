"""Who may give which roles, and when the last use of a key is written."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_score_api.keys.schemas import KeyBody, Role
from plumbline_score_api.keys.service import may_grant
from plumbline_score_api.keys.uses import EVERY_SECONDS, MOST_KEYS, LastUses
from pydantic import ValidationError

ROLES = st.frozensets(st.sampled_from(list(Role)))


@given(ROLES, ROLES)
def test_nobody_gives_what_he_does_not_have(own: frozenset[Role], wanted: frozenset[Role]) -> None:
    lacking = wanted - own
    can_read_by_writing = lacking == {Role.READ} and Role.WRITE in own
    assert may_grant(own, wanted) == (not lacking or can_read_by_writing)


@given(ROLES, ROLES, ROLES)
def test_a_chain_of_keys_gains_nothing(first: frozenset[Role], second: frozenset[Role], third: frozenset[Role]) -> None:
    if may_grant(first, second) and may_grant(second, third):
        assert may_grant(first, third)


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "", "roles": ["SecureScore.Read"]}',
        '{"name": "x", "roles": []}',
        '{"name": "x", "roles": ["Admin"]}',
        '{"name": "x", "roles": "SecureScore.Read"}',
        '{"name": "a\\nb", "roles": ["SecureScore.Read"]}',
        '{"name": "\\ud800", "roles": ["SecureScore.Read"]}',
        '{"name": {"$gt": ""}, "roles": ["SecureScore.Read"]}',
        '{"name": "x", "roles": ["SecureScore.Read"], "tenant": "fabrikam"}',
        '{"name": "x", "roles": ["SecureScore.Read"], "expires_at": "2099-01-01T00:00:00"}',
        '{"name": "x", "roles": ["SecureScore.Read"], "expires_at": "tomorrow"}',
        '{"roles": ["SecureScore.Read"]}',
    ],
)
def test_a_body_that_is_not_as_documented_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        KeyBody.model_validate_json(body)


class Written:
    """What was written, with a clock; `works` is whether it can."""

    def __init__(self) -> None:
        self.now, self.works = 1000.0, True
        self.keys: list[tuple[str, str]] = []
        self.uses = LastUses(self._write, lambda: self.now)

    async def _write(self, tenant: str, key_id: str, at: datetime) -> bool:
        assert at.tzinfo is not None
        if self.works:
            self.keys.append((tenant, key_id))
        return self.works


async def test_a_use_is_written_at_most_once_a_minute() -> None:
    written = Written()
    for _ in range(100):
        written.uses.note("contoso", "k1")
        await written.uses.flush()
    assert written.keys == [("contoso", "k1")]
    written.uses.note("contoso", "k2")
    written.now += EVERY_SECONDS
    written.uses.note("contoso", "k1")
    await written.uses.flush()
    assert sorted(written.keys) == [("contoso", "k1"), ("contoso", "k1"), ("contoso", "k2")]


async def test_nothing_is_written_before_its_time() -> None:
    written = Written()
    written.uses.note("contoso", "k1")
    assert written.keys == []


async def test_what_could_not_be_written_is_with_the_next_use() -> None:
    written = Written()
    written.works = False
    written.uses.note("contoso", "k1")
    await written.uses.flush()
    written.works = True
    await written.uses.flush()
    assert written.keys == []
    written.uses.note("contoso", "k1")
    await written.uses.flush()
    assert written.keys == [("contoso", "k1")]


async def test_what_waits_is_bounded() -> None:
    written = Written()
    for number in range(MOST_KEYS + 100):
        written.uses.note("contoso", str(number))
    await written.uses.flush()
    assert len(written.keys) == MOST_KEYS

"""Questions that are remembered: whose answer is asked for anew, and who may share one."""

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from plumbline_score_api import guard
from plumbline_score_api.again import LONGEST_QUERY_BYTES, AgainRoute, answered
from plumbline_score_api.keys.schemas import Caller, Restriction, Role
from plumbline_score_api.limits import Limits
from plumbline_score_api.pictures.bodies import Body

ANN = Caller(identity="k1", name="ann", tenant="acme", roles=frozenset({Role.READ}))


class World:
    """An application with one list. `now` is what its answer is made of; `handled` counts whole ways to it."""

    def __init__(self) -> None:
        self.who, self.now, self.handled = ANN, "one", 0
        self.made: dict[str, Body] = {}
        router = APIRouter(route_class=AgainRoute)

        @router.get("/list")
        async def listed(request: Request, q: str = "") -> Response:
            self.handled += 1
            body = self.made.setdefault(self.now, Body.of(f"{self.who.tenant} {q} {self.now}".encode()))
            return answered(request, body, self._again)

        self.app = FastAPI()
        guard.install(self.app, self._authenticate, Limits())
        self.app.include_router(router)

    async def _again(self) -> Body | None:
        return self.made.get(self.now)

    async def _authenticate(self, _: str) -> Caller | None:
        return self.who

    async def ask(self, query: str = "") -> str:
        """The answer."""
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            answer = await client.get(f"/list{query}", headers={"Authorization": "Bearer k"})
        assert answer.status_code == 200
        return answer.text


async def test_a_question_is_read_once_while_its_answer_stands() -> None:
    world = World()
    assert [await world.ask() for _ in range(3)] == ["acme  one"] * 3
    assert world.handled == 1


async def test_what_has_changed_is_seen_by_the_next_question() -> None:
    world = World()
    await world.ask()
    world.now = "two"
    assert await world.ask() == "acme  two"
    world.now = "one"
    assert await world.ask() == "acme  one"
    assert world.handled == 2, "an answer that stands again is found again"


@pytest.mark.parametrize(
    "other",
    [
        ANN.model_copy(update={"tenant": "fabrikam"}),
        ANN.model_copy(update={"roles": frozenset({Role.KEYS})}),
        ANN.model_copy(update={"restriction": Restriction(instances=frozenset({"a"}))}),
    ],
    ids=["tenant", "roles", "restriction"],
)
async def test_nobody_is_answered_as_another(other: Caller) -> None:
    world = World()
    await world.ask()
    world.who = other
    await world.ask()
    assert world.handled == 2


async def test_two_keys_that_see_the_same_share() -> None:
    world = World()
    await world.ask()
    world.who = ANN.model_copy(update={"identity": "k2", "name": "bob"})
    await world.ask()
    assert world.handled == 1


async def test_other_words_are_another_question_and_very_many_words_are_not_remembered() -> None:
    world = World()
    for query in ("", "?q=a", "?q=b", "?q=a", f"?q={'x' * LONGEST_QUERY_BYTES}", f"?q={'x' * LONGEST_QUERY_BYTES}"):
        await world.ask(query)
    assert world.handled == 5

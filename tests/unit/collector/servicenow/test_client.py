"""What a page of the Table API is read as."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from plumbline_collector.budget import CallBudget
from plumbline_collector.connectors.saas_client import Answer
from plumbline_collector.connectors.servicenow.client import ServiceNowClient
from plumbline_collector.errors import ReadError

from tests.unit.collector.servicenow.fakes import CONNECTION


class OneAnswer(ServiceNowClient):
    """A client whose instance answers the same to everything."""

    def __init__(self, document: Any, total: str = "2") -> None:
        super().__init__(CONNECTION, CallBudget(1.0))
        self._answer = Answer(
            200, httpx.Headers({b"x-total-count": total.encode("latin-1")}), json.dumps(document).encode()
        )

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return self._answer


async def _page(document: Any, total: str = "2") -> tuple[list[dict[str, str]], int | None]:
    return await OneAnswer(document, total).page("sys_user", "active=true", "sys_id,name", 1000, 0)


async def test_a_cell_that_is_no_text_is_left_out_as_a_hidden_one_is() -> None:
    rows = [
        {"sys_id": "1", "name": "ann"},
        {"sys_id": "2", "name": None},
        {"sys_id": "3", "name": {"value": "x", "link": "https://elsewhere.example"}},
        {"sys_id": "4", "name": ["a"]},
        {"sys_id": 5, "name": True},
        {},
    ]
    found, _ = await _page({"result": rows})
    assert found == [{"sys_id": "1", "name": "ann"}, {"sys_id": "2"}, {"sys_id": "3"}, {"sys_id": "4"}, {}, {}]


@pytest.mark.parametrize("rows", [[], [{}], [{"sys_id": "1", "name": ""}, {"sys_id": "2", "name": "bob"}]])
async def test_a_page_of_text_is_taken_as_it_is(rows: list[dict[str, str]]) -> None:
    assert await _page({"result": rows}) == (rows, 2)


@pytest.mark.parametrize(
    ("told", "total"), [("0", 0), ("12", 12), ("", None), ("-1", None), ("1e3", None), ("²", None)]
)
async def test_a_total_that_is_no_number_is_none(told: str, total: int | None) -> None:
    assert (await _page({"result": []}, told))[1] == total


@pytest.mark.parametrize("document", [[], {}, {"result": {"sys_id": "1"}}, {"result": "none"}, {"result": ["1"]}])
async def test_an_answer_that_holds_no_rows_is_an_error_and_no_empty_table(document: Any) -> None:
    with pytest.raises(ReadError, match=r"holds (no rows|something that is no row)"):
        await _page(document)

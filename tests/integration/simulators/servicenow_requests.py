"""Asking a simulated ServiceNow instance in-process, as a client with a token would."""

import asyncio
from typing import Any

import httpx
from plumbline_simulators import servicenow
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.servicenow.instance import Instance
from starlette.types import ASGIApp

TOKEN_PATH = "/oauth_token.do"
FORM = {
    "grant_type": "client_credentials",
    "client_id": Credentials.client_id,
    "client_secret": Credentials.client_secret,
}


CALLER = "192.0.2.7"


class _InProcess(httpx.BaseTransport):
    """Requests go to the application without a socket."""

    def __init__(self, app: ASGIApp) -> None:
        self._transport = httpx.ASGITransport(app, client=(CALLER, 40_000))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        return asyncio.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


class Asked:
    """One instance and a client of it that keeps no cookies. `login` are the headers that each request carries."""

    def __init__(self, instance: Instance | None = None, credentials: Credentials | None = None) -> None:
        self.instance = instance or Instance()
        app = servicenow.app(self.instance, credentials=credentials)
        self.client = httpx.Client(transport=_InProcess(app), base_url="https://dev1.service-now.com")
        self.login: dict[str, str] = {}
        if credentials is None:
            self.log_in()

    def token(self, **changes: str) -> httpx.Response:
        """A token request."""
        answer = self.client.post(TOKEN_PATH, data={**FORM, **changes})
        self.client.cookies.clear()
        return answer

    def log_in(self) -> None:
        """Use a token from now on."""
        self.login = {"Authorization": f"Bearer {self.token().raise_for_status().json()['access_token']}"}

    def get(self, path: str, parameters: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """GET below `/api/now/`."""
        answer = self.client.get(f"/api/now/{path}", params=parameters, headers={**self.login, **headers})
        self.client.cookies.clear()
        return answer

    def page(self, table: str, query: str = "", **parameters: Any) -> httpx.Response:
        """A page of a table; parameters without their prefix."""
        given = {f"sysparm_{name}": value for name, value in {"query": query, **parameters}.items()}
        return self.get(f"table/{table}", given)

    def rows(self, table: str, query: str = "", **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a page. References come plain."""
        answer = self.page(table, query, **{"exclude_reference_link": "true", **parameters})
        found: list[dict[str, Any]] = answer.raise_for_status().json()["result"]
        return found

    def change(self, name: str, value: Any) -> httpx.Response:
        """Change a setting through the control plane."""
        return self.client.put(f"/__simulator/settings/{name}", json={"value": value})

    def fail(self, *faults: dict[str, Any]) -> None:
        """Switch faults on."""
        self.client.put("/__simulator/faults", json=list(faults)).raise_for_status()

    @property
    def requests(self) -> dict[str, int]:
        """How often each kind of request came."""
        found: dict[str, int] = self.client.get("/__simulator/requests").json()
        return found


def refused(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, message and detail of a refusal in the product's envelope."""
    document = answer.json()
    assert document["status"] == "failure"
    return answer.status_code, document["error"]["message"], document["error"]["detail"]

"""What a connection may send, and whose errors it raises."""

import httpx
import pytest
from plumbline_collector.errors import CollectorError, RefusedByRulesError
from plumbline_collector.network import ReadingTransport

TOKEN = "/services/oauth2/token"


async def _send(method: str, url: str, **allowed: bool) -> None:
    rules = {"allow_private": False, "allow_http": False, **allowed}
    async with httpx.AsyncClient(transport=ReadingTransport(token_path=TOKEN, **rules)) as http:
        await http.request(method, url)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
async def test_what_could_change_something_is_not_sent(method: str) -> None:
    with pytest.raises(RefusedByRulesError, match="could change something"):
        await _send(method, "https://127.0.0.1:1/services/data", allow_private=True)


@pytest.mark.parametrize(
    ("method", "url", "told"),
    [
        ("GET", "http://127.0.0.1:1/", "http is not encrypted"),
        ("POST", f"http://127.0.0.1:1{TOKEN}", "http is not encrypted"),
        ("GET", "https://127.0.0.1:1/", "allow_private_network"),
        ("POST", f"https://127.0.0.1:1{TOKEN}", "allow_private_network"),
        ("GET", "https://169.254.169.254/", "never reached"),
    ],
)
async def test_what_the_rules_refuse_is_an_error_of_the_connection(method: str, url: str, told: str) -> None:
    with pytest.raises(RefusedByRulesError, match=told) as caught:
        await _send(method, url)
    assert isinstance(caught.value, CollectorError)


async def test_link_local_is_refused_although_private_networks_are_allowed() -> None:
    with pytest.raises(RefusedByRulesError, match="never reached"):
        await _send("GET", "https://169.254.169.254/", allow_private=True)

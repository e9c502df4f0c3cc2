"""Limits at the door: failed logins per address, requests per caller."""

import httpx
from plumbline_score_api.limits import Limits
from plumbline_score_api.services import Services

from tests.integration.score_api.in_process import ALL_ROLES, client_for
from tests.integration.score_api.stage import Stage

WRONG = {"Authorization": "Bearer plk_0123456789abcdef_" + "A" * 43}


def _is_told_to_wait(answer: httpx.Response) -> bool:
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    return True


async def test_an_address_that_fails_too_often_has_to_wait(services: Services) -> None:
    good, other = [await services.keys.create("contoso", name, ALL_ROLES) for name in ("good", "other")]
    async with client_for(services, good, limits=Limits(failed_logins_per_minute=3)) as client:
        assert (await client.get("/v1/products")).status_code == 200
        for _ in range(3):
            assert (await client.get("/v1/products", headers=WRONG)).status_code == 401
        assert _is_told_to_wait(await client.get("/v1/products", headers=WRONG))
        unseen = {"Authorization": f"Bearer {other}"}
        assert _is_told_to_wait(await client.get("/v1/products", headers=unseen)), "nobody learns whether it is good"
        assert (await client.get("/v1/products")).status_code == 200, "a key that was good just now is let in"
        assert (await client.get("/healthz")).status_code == 200


async def test_asking_without_a_key_is_no_failed_login(anonymous: httpx.AsyncClient, services: Services) -> None:
    key = await services.keys.create("contoso", "good", ALL_ROLES)
    async with client_for(services, None, limits=Limits(failed_logins_per_minute=1)) as client:
        for _ in range(5):
            assert (await client.get("/v1/products")).status_code == 401
        assert (await client.get("/v1/products", headers={"Authorization": f"Bearer {key}"})).status_code == 200


async def test_a_caller_that_asks_too_much_has_to_wait_and_others_do_not(services: Services) -> None:
    one, two = [await services.keys.create("contoso", "same name", ALL_ROLES) for _ in range(2)]
    async with client_for(services, one, limits=Limits(requests_per_minute=30)) as client:
        answers = [await client.get("/v1/products") for _ in range(6)]
        assert [answer.status_code for answer in answers[:5]] == [200] * 5
        assert _is_told_to_wait(answers[5])
        other = {"Authorization": f"Bearer {two}"}
        assert (await client.get("/v1/products", headers=other)).status_code == 200


def test_the_settings_hold_in_the_process(stage: Stage) -> None:
    _, client = stage.serve(requests_per_minute=12, failed_logins_per_minute=1)
    assert [client.get("/v1/products").status_code for _ in range(3)] == [200, 200, 429]
    assert client.get("/v1/products", headers=WRONG).status_code == 401
    assert _is_told_to_wait(client.get("/v1/products", headers=WRONG))
    spoofed = {**WRONG, "X-Forwarded-For": "192.0.2.9"}
    assert client.get("/v1/products", headers=spoofed).status_code == 429, "nobody says from where he comes"


def test_a_trusted_proxy_says_from_where_a_caller_comes(stage: Stage) -> None:
    _, client = stage.serve(failed_logins_per_minute=1, trusted_proxies="127.0.0.1, 10.0.0.0/8")
    for address in ("192.0.2.8", "192.0.2.9"):
        headers = {**WRONG, "X-Forwarded-For": address}
        assert [client.get("/v1/products", headers=headers).status_code for _ in range(2)] == [401, 429]

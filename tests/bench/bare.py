"""A collection against a bare HTTP loop that asks for the same pages and throws them away."""

import asyncio
import re
import tempfile
import time
from pathlib import Path

import httpx
from plumbline_collector import collection, connections, network
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_contracts.events import Product, RequestReason

from tests.bench.figures import Figure, Section
from tests.bench.orgs import Orgs

REPETITIONS = {Product.SALESFORCE: 3, Product.SERVICENOW: 9}
"""A collection of ServiceNow is short, so its ratio is the median of more pairs."""
RATIO_LIMIT = 1.3
ABOUT = """\
How long `collector snapshot` takes from the first request to the finished file, without starting the interpreter,
against a plain httpx loop over the same requests: one after the other, on one connection, answers unpacked and thrown
away, nothing parsed but the link to the next page, nothing checked, written or joined. Both run in one process in turns
against the same simulated org; what the org takes to answer is in both. The collector sends a few requests at once
where datasets do not need one another, which the loop does not."""
NEAR_THE_EDGE = 2000
"""Where in an answer its link to the next page stands: before the records or after them."""
_NEXT = re.compile(rb'"nextRecordsUrl":\s*"([^"]+)"')


def measure(large: Orgs) -> Section:
    """Both products at the large size."""
    figures, remarks = [], []
    for product in Product:
        connection = _connection(large, product)
        asked = asyncio.run(_recorded(connection))
        pairs = [asyncio.run(_pair(connection, asked)) for _ in range(REPETITIONS[product])]
        ours, bare = ([pair[side] for pair in pairs] for side in (0, 1))
        name = f"collection: time, {product}, {large.users:,} users"
        figures.append(Figure(name, "s", ours, bare, "bare httpx loop", RATIO_LIMIT, "ratio"))
        remarks.append(f"{product}: {len(asked)} requests, the token request not counted")
    return Section("Collection, against a bare HTTP loop", ABOUT, figures, remarks)


def _connection(orgs: Orgs, product: Product) -> Connection:
    return connections.choose(connections.load(orgs.connections), str(product))


async def _pair(connection: Connection, asked: list[httpx.Request]) -> tuple[float, float]:
    began = time.perf_counter()
    await _collect(connection)
    between = time.perf_counter()
    await _bare(asked)
    return between - began, time.perf_counter() - between


async def _collect(connection: Connection) -> None:
    with tempfile.TemporaryDirectory(prefix="plumbline-bare-") as folder:
        await collection.collect(
            connection,
            Path(folder) / "org.snapshot",
            request_id="bench",
            reason=RequestReason.USER,
            budget=CallBudget(1.0),
            started_at=collection.start_after(None),
        )


async def _recorded(connection: Connection) -> list[httpx.Request]:
    """The GET requests of one collection, in order."""
    asked: list[httpx.Request] = []
    send = network.ReadingTransport.handle_async_request

    async def noting(self: network.ReadingTransport, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            asked.append(request)
        return await send(self, request)

    network.ReadingTransport.handle_async_request = noting  # type: ignore[method-assign]
    try:
        await _collect(connection)
    finally:
        network.ReadingTransport.handle_async_request = send  # type: ignore[method-assign]
    return asked


async def _bare(asked: list[httpx.Request]) -> None:
    """Ask again; pages that only the answer before names are asked for where that answer says."""
    async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
        for request in asked:
            url: httpx.URL | None = None if "/query/" in request.url.path else request.url
            while url is not None:
                answer = await client.get(url, headers=request.headers)
                url = _next(url, answer.raise_for_status().content)


def _next(url: httpx.URL, body: bytes) -> httpx.URL | None:
    found = _NEXT.search(body[:NEAR_THE_EDGE]) or _NEXT.search(body[-NEAR_THE_EDGE:])
    return url.join(found.group(1).decode()) if found else None

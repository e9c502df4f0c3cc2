"""Every fault in every phase: the snapshot ends, tells the truth, and nothing passes that would not have passed."""

import asyncio
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from plumbline_collector import collection
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors import bodies, patience, saas_client
from plumbline_collector.errors import CollectorError
from plumbline_contracts.events import ControlResult, DatasetState, Evidence, Outcome, Product, RequestReason
from plumbline_evaluator.catalogue.loading import Catalogue, load
from plumbline_evaluator.judging.evaluation import Evaluation
from plumbline_evaluator.sources.file import SnapshotFile
from plumbline_simulators.faults import KINDS, NEEDS_TOKEN, OF_TOKENS, SALESFORCE_ONLY, SERVICENOW_ONLY
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.servicenow.instance import Instance

from tests.integration.parts import Simulated, simulated

PHASES = ("token", "first", "middle", "last")
ALWAYS = ("token", "middle")
EVERY_FAULT = "PLUMBLINE_TEST_EVERY_FAULT" in os.environ
"""`make faults`: also the first and the last page for faults that do not look into the answer."""
WITHIN_SECONDS = 30.0
USERS = 4200
"""Enough for a first, a middle and a last page in both products."""


def _cases() -> Iterator[tuple[Product, str, str]]:
    """The faults of a product in the phases in which they can happen."""
    for product, kind, phase in itertools.product(Product, KINDS, PHASES):
        foreign = SERVICENOW_ONLY if product is Product.SALESFORCE else SALESFORCE_ONLY
        is_possible = kind not in (NEEDS_TOKEN if phase == "token" else OF_TOKENS)
        if kind not in foreign and is_possible and (EVERY_FAULT or kind in NEEDS_TOKEN or phase in ALWAYS):
            yield product, kind, phase


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real bounds in small, so that what takes two minutes at most takes seconds here."""
    monkeypatch.setattr(patience, "BASE_SECONDS", 4.0)
    monkeypatch.setattr(patience, "SHORTEST_ATTEMPT_SECONDS", 1.0)
    monkeypatch.setattr(saas_client, "TOTAL_SECONDS", 2.0)
    monkeypatch.setattr(saas_client, "TOKEN_SECONDS", 2.0)
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(saas_client, "_wait", lambda _: 0.02)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load(Path("controls"))


@pytest.fixture(scope="module")
def orgs() -> Iterator[dict[Product, Simulated]]:
    with simulated(Org(users=USERS)) as salesforce, simulated(Instance(users=USERS)) as servicenow:
        yield {Product.SALESFORCE: salesforce, Product.SERVICENOW: servicenow}


async def _results(org: Simulated, folder: Path, catalogue: Catalogue) -> dict[str, ControlResult] | None:
    """The results of a fresh snapshot by control; None when the collection was given up as a whole."""
    secret = folder / "secret"
    secret.write_text("simulated-orgs-only\n")
    connection = Connection.model_validate(org.connection("org", secret))
    path = folder / "org.snapshot"
    try:
        await collection.collect(
            connection,
            path,
            request_id="r",
            reason=RequestReason.USER,
            budget=CallBudget(1.0),
            started_at=collection.start_after(None),
            keep_unread=True,
        )
    except CollectorError:
        return None
    source = SnapshotFile(path)
    evaluation = Evaluation(catalogue.plans[source.completed.product], catalogue.digests, {})
    for chunk in source.chunks():
        evaluation.take(chunk.dataset, chunk.rows)
    results = evaluation.conclude(source.completed.datasets)
    return {item.control_id: item for item in results if isinstance(item, ControlResult)}


@pytest.fixture(scope="module")
def truth(
    orgs: dict[Product, Simulated], catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory
) -> dict[Product, dict[str, Outcome]]:
    """What a faultless collection finds."""
    found = {}
    for product, org in orgs.items():
        results = asyncio.run(_results(org, tmp_path_factory.mktemp(product), catalogue))
        assert results
        found[product] = {control: result.outcome for control, result in results.items()}
    return found


def _is_honest(result: ControlResult, truth: Outcome) -> bool:
    """The same, or not judged; of a population that was read in part, that nobody seen complies may be said."""
    if result.outcome in (truth, Outcome.UNKNOWN):
        return True
    deciding = [each.state for each in result.evidence if each.outcome in (None, Outcome.FAIL)]
    is_partly_read = DatasetState.TRUNCATED in deciding and set(deciding) <= {DatasetState.TRUNCATED, DatasetState.OK}
    return (result.outcome, truth) == (Outcome.FAIL, Outcome.PARTIAL) and is_partly_read


@pytest.mark.parametrize(
    ("outcome", "truth", "states", "is_honest"),
    [
        (Outcome.PASS, Outcome.PASS, [DatasetState.OK], True),
        (Outcome.UNKNOWN, Outcome.PASS, [DatasetState.ERROR], True),
        (Outcome.FAIL, Outcome.PARTIAL, [DatasetState.TRUNCATED], True),
        (Outcome.FAIL, Outcome.PARTIAL, [DatasetState.OK], False),
        (Outcome.FAIL, Outcome.PARTIAL, [DatasetState.ERROR], False),
        (Outcome.FAIL, Outcome.PARTIAL, [DatasetState.TRUNCATED, DatasetState.ERROR], False),
        (Outcome.FAIL, Outcome.PASS, [DatasetState.TRUNCATED], False),
        (Outcome.PASS, Outcome.PARTIAL, [DatasetState.TRUNCATED], False),
        (Outcome.NOT_APPLICABLE, Outcome.PASS, [DatasetState.OK], False),
    ],
)
def test_only_a_part_of_a_population_may_look_worse(
    outcome: Outcome, truth: Outcome, states: list[DatasetState], is_honest: bool
) -> None:
    evidence = [Evidence(dataset="d", source="s", state=state) for state in states]
    result = ControlResult(
        control_id="X-1",
        control_digest="",
        outcome=outcome,
        explanation="-",
        share=0,
        points=0,
        max_points=1,
        evidence=evidence,
    )
    assert _is_honest(result, truth) is is_honest


@pytest.mark.parametrize(("product", "kind", "phase"), list(_cases()))
async def test_a_fault_costs_verdicts_and_never_makes_one_up(
    product: Product,
    kind: str,
    phase: str,
    orgs: dict[Product, Simulated],
    truth: dict[Product, dict[str, Outcome]],
    catalogue: Catalogue,
    tmp_path: Path,
) -> None:
    org = orgs[product]
    org.fail({"kind": kind, "phase": phase, "seconds": 0.05})
    before, began = dict(org.requests), time.monotonic()
    try:
        results = await _results(org, tmp_path, catalogue)
    finally:
        org.fail()
    took = time.monotonic() - began
    refused = {kind for kind in org.requests if kind.endswith("refused")} - set(before)
    assert not refused
    assert not _wrong(results or {}, truth[product])
    assert results is None or set(results) == set(truth[product])
    assert took < WITHIN_SECONDS


def _wrong(results: dict[str, ControlResult], truth: dict[str, Outcome]) -> dict[str, tuple[Outcome, Outcome, str]]:
    """What a collection with a fault says that is neither true nor open: what is true, what it says, and why."""
    return {
        control: (truth[control], result.outcome, result.explanation)
        for control, result in results.items()
        if not _is_honest(result, truth[control])
    }

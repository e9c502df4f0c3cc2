"""What the whole catalogue finds on simulated orgs, as events for SIEMs: valid, and of the size that is meant."""

from pathlib import Path
from statistics import mean

import pytest
from plumbline_collector import collection
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_contracts.events import RequestReason
from plumbline_evaluator.catalogue.loading import load
from plumbline_score_api.findings.ocsf import write
from plumbline_score_api.findings.state import Verdict
from plumbline_score_api.findings.validation import problems
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.servicenow.instance import Instance

from tests.integration.parts import simulated
from tests.told import told

MOST_BYTES_IN_THE_MEAN = 4_800
"""With names and addresses, and many small populations that are listed whole."""


@pytest.mark.parametrize("org", [Org(users=500), Instance(users=500)], ids=["salesforce", "servicenow"])
async def test_events_of_the_whole_catalogue(org: Org | Instance, tmp_path: Path) -> None:
    secret, file = tmp_path / "secret", tmp_path / "org.snapshot"
    secret.write_text("simulated-orgs-only\n")
    with simulated(org) as running:
        connection = Connection.model_validate(running.connection("sales-eu", secret))
        await collection.collect(
            connection,
            file,
            request_id="r",
            reason=RequestReason.USER,
            budget=CallBudget(1.0),
            started_at=collection.start_after(None),
        )
    found = told(file, load(Path("controls")))
    written = [write(*each) for each in found]
    assert [each.event["unmapped"] for each in written if problems(*each)] == []
    assert {telling.verdict for telling, _ in found} >= {Verdict.PASS, Verdict.FAIL, Verdict.PARTIAL}
    assert len(found) > 100
    assert mean(len(each.record) for each in written) < MOST_BYTES_IN_THE_MEAN
    texts_cut = [each for each in written if _is_cut(each.event)]
    assert len(texts_cut) < len(written) / 10


def _is_cut(event: dict[str, dict[str, object]]) -> bool:
    """Whether more was left out than entities that nobody lists."""
    counts = event["unmapped"]["counts"]
    assert isinstance(counts, dict)
    return "is_truncated" in event["metadata"] and counts["listed"] == counts["exposed"]

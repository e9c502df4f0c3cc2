"""The findings of a recorded snapshot as SIEMs hear of them first: judged offline, with definitions and entities."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from plumbline_contracts import ids
from plumbline_contracts.events import ControlResult, ExposedEntities, ExposedEntity, Insights
from plumbline_evaluator.catalogue.loading import Catalogue, definition
from plumbline_evaluator.judging.evaluation import Evaluation
from plumbline_evaluator.sources.file import SnapshotFile
from plumbline_score_api.findings.definitions import text_of
from plumbline_score_api.findings.lifecycle import Options, Seen, Telling, step
from plumbline_score_api.findings.ocsf import Facts, InstanceFacts
from plumbline_score_api.findings.state import verdict_of
from plumbline_score_api.findings.subjects import MOST_ENTITIES

TENANT = "contoso"
TELL_ALL = Options(baseline_pass=True)
Told = tuple[Telling, Facts]


def told(file: Path, catalogue: Catalogue) -> list[Told]:
    """One telling of every control, with names of entities, which make events larger."""
    source = SnapshotFile(file)
    completed, exposed = source.completed, defaultdict[str, list[ExposedEntity]](list)
    found: list[Told] = []
    for item in _judged(source, catalogue):
        if isinstance(item, ExposedEntities):
            exposed[item.control_id] += item.entities[:MOST_ENTITIES]
        else:
            facts = Facts(
                tenant=TENANT,
                instance=InstanceFacts(
                    completed.instance,
                    completed.product,
                    f"https://{TENANT}.{completed.product}.example",
                    "00D000000000001AAA",
                    Insights.MAIN,
                ),
                definition=definition(catalogue.controls[item.control_id], item.control_digest, catalogue.generation),
                result=item,
                product_version="0.1.0",
                evaluation_id=ids.evaluation_id(completed.snapshot_id, "digest"),
                snapshot_id=completed.snapshot_id,
                entities=exposed[item.control_id][:MOST_ENTITIES],
                api_url=f"https://plumbline.{TENANT}.example",
                names_are_allowed=True,
            )
            found.append((_telling(facts, item, completed.started_at), facts))
    return found


def _judged(source: SnapshotFile, catalogue: Catalogue) -> Iterator[ControlResult | ExposedEntities]:
    completed = source.completed
    evaluation = Evaluation(catalogue.plans[completed.product], catalogue.digests, completed.parameters)
    for chunk in source.chunks():
        yield from evaluation.take(chunk.dataset, chunk.rows)
    yield from evaluation.conclude(completed.datasets)


def _telling(facts: Facts, result: ControlResult, started_at: datetime) -> Telling:
    seen = Seen(
        finding=ids.finding_uid(facts.tenant, facts.instance.id, result.control_id),
        verdict=verdict_of(result.outcome, result.reason),
        observed=result.observed or "",
        exposed=result.exposed_digest or "",
        definition=text_of(facts.definition).digest,
        insights=facts.instance.insights,
        evaluation=str(facts.evaluation_id),
        snapshot_started_at=started_at,
    )
    _, (telling,) = step(None, seen, cause_id=seen.evaluation, at=started_at, options=TELL_ALL)
    return telling

"""A tenant of 50 instances with 365 controls each and two years of history, brought into a database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from plumbline_contracts import ids
from plumbline_contracts.events import (
    ControlDefinition,
    ControlResult,
    ControlResults,
    DatasetState,
    Evidence,
    ExposedEntities,
    ExposedEntity,
    Insights,
    Outcome,
    Product,
    Remediation,
)
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.history.changing import (
    TENANT,
    DayTally,
    Point,
    Score,
    Sums,
    Totals,
    instance_scope,
    product_scope,
)
from plumbline_score_api.projection.upkeep import Retention, Upkeep

INSTANCES, CONTROLS, DAYS, EXPOSED = 50, 365, 730, 10_000
WHO = "contoso"
POINTS = 5.0
_CATEGORIES = ("Identity", "Apps", "Data", "Device", "Infrastructure")
_SEVERITIES = ("critical", "high", "medium", "low", "informational")
_OUTCOMES = (Outcome.PASS, Outcome.FAIL, Outcome.PARTIAL, Outcome.UNKNOWN, Outcome.NOT_APPLICABLE, Outcome.PASS)
_SHARES = {Outcome.PASS: 1.0, Outcome.PARTIAL: 0.5}
_TEXT = "The setting decides who may do what without a second look, and for how long nobody notices. "
AT_ONCE = 2_000


def product_of(number: int) -> Product:
    """Half of the instances are of each product."""
    return Product.SALESFORCE if number % 2 else Product.SERVICENOW


def definitions() -> list[ControlDefinition]:
    """The controls of both products, with texts as long as those of the catalogue."""
    return [_definition(product, number) for product in Product for number in range(CONTROLS)]


def _definition(product: Product, number: int) -> ControlDefinition:
    return ControlDefinition.model_validate(
        {
            "control_id": f"{product}-{number:03d}",
            "digest": "d1",
            "version": 1,
            "catalogue_generation": 1,
            "product": product,
            "title": f"Control {number} of {product} is as the vendor advises",
            "category": _CATEGORIES[number % 5],
            "severity": _SEVERITIES[number // 5 % 5],
            "max_points": POINTS,
            "user_impact": "low",
            "implementation_cost": "moderate",
            "threats": ["Account breach", "Data exfiltration"],
            "description": _TEXT * 4,
            "rationale": _TEXT * 3,
            "remediation": Remediation(steps=[_TEXT] * 6),
            "frameworks": {"nist_800_53_r5": ["AC-2", "AC-6"], "cis_v8": ["5.3"], "iso_27001": ["A.5.15"]},
            "permissions": ["View Setup and Configuration"],
        }
    )


def evaluation(number: int, run: int, started_at: datetime) -> ControlResults:
    """Evaluation `run` of instance `number`, in one part; from one run to the next three outcomes change."""
    product, snapshot_id = product_of(number), ids.snapshot_id(WHO, f"i{number:02d}", str(run))
    return ControlResults(
        tenant=WHO,
        instance=f"i{number:02d}",
        product=product,
        evaluation_id=ids.evaluation_id(snapshot_id, "c1"),
        snapshot_id=snapshot_id,
        snapshot_digest="a" * 64,
        snapshot_started_at=started_at,
        evaluated_at=started_at + timedelta(seconds=5),
        catalogue_digest="c1",
        catalogue_generation=1,
        part=0,
        part_count=1,
        results=[_result(product, control, number, run) for control in range(CONTROLS)],
    )


def _result(product: Product, control: int, number: int, run: int) -> ControlResult:
    moved = run if control % 120 == number % 120 else 0
    outcome = _OUTCOMES[(control + number + moved) % len(_OUTCOMES)]
    share = _SHARES.get(outcome, 0.0)
    return ControlResult.model_validate(
        {
            "control_id": f"{product}-{control:03d}",
            "control_digest": "d1",
            "outcome": outcome,
            "reason": "missing_permission" if outcome is Outcome.UNKNOWN else None,
            "explanation": f"{outcome} for 17 of 34 users; the setting is read from the product's settings.",
            "share": share,
            "points": POINTS * share,
            "max_points": POINTS,
            "compliant": 17,
            "total": 34,
            "expected": "12 or more",
            "observed": "8",
            "evidence": [Evidence(dataset="session_settings", source="SecuritySettings", state=DatasetState.OK)],
        }
    )


def _with_exposed(judged: ControlResults) -> ControlResults:
    """The evaluation with as many entities as are listed at most for the first control that somebody fails."""
    at = next(n for n, each in enumerate(judged.results) if each.outcome in (Outcome.FAIL, Outcome.PARTIAL))
    known = {"exposed": EXPOSED, "exposed_listed": EXPOSED, "exposed_digest": "e" * 64}
    results = [*judged.results[:at], judged.results[at].model_copy(update=known), *judged.results[at + 1 :]]
    entities = [
        ExposedEntity(id=f"005{n:015d}", name=f"user{n}@contoso.example", type="user", detail={"last_login_days": n})
        for n in range(EXPOSED)
    ]
    listed = ExposedEntities(control_id=results[at].control_id, entities=entities)
    return judged.model_copy(update={"results": results, "exposed": [listed]})


async def fill(database: Database) -> None:
    """Bring all into an empty database: through the projection what is current, in bulk what is past."""
    await composition.prepare(database)
    upkeep, now = upkeep_of(database), datetime.now(UTC)
    await upkeep.projection.take_definitions(definitions())
    for number in range(INSTANCES):
        await upkeep.projection.take_part(_with_exposed(evaluation(number, 0, now - timedelta(hours=1))))
    await _count_all(upkeep)
    await _write(database["history"], _points(now))
    await _write(database["history_days"], _days(now))


def upkeep_of(database: Database) -> Upkeep:
    """What the projector does, without a broker."""
    return composition.build_upkeep(database, lambda _: 0, Retention(points=None, days=None, changes=timedelta(days=7)))


async def _count_all(upkeep: Upkeep) -> None:
    """Every instance counts in the score of the tenant."""
    for product in Product:
        choices = await upkeep.insights.read(WHO, product)
        for instance in [name for name, choice in choices.items() if choice is Insights.OFF]:
            await upkeep.insights.choose(WHO, product, instance, Insights.ON, Author("bench", "bench"))


def _scopes() -> list[str]:
    return [TENANT, *map(product_scope, Product), *(instance_scope(f"i{number:02d}") for number in range(INSTANCES))]


def _totals(day: int) -> Totals:
    score = Score(current=900.0 + day % 50, max=1825.0, measured=1500.0, planned=1000.0, achievable=1800.0)
    sums = Sums(score=score, outcomes={"PASS": 24, "FAIL": 12})
    return Totals(score=score, categories=dict.fromkeys(_CATEGORIES, sums), outcomes={"PASS": 120, "FAIL": 60})


def _points(now: datetime) -> Iterator[dict[str, Any]]:
    """A point a day, before those of the projection."""
    for scope in _scopes():
        for day in range(1, DAYS + 1):
            point = Point(
                scope=scope,
                seq=day - DAYS,
                at=now - timedelta(days=DAYS + 1 - day),
                totals=_totals(day),
                points=1,
                max_points=0,
            )
            yield {
                "_id": f"{WHO}/{scope}/{point.seq}",
                "tenant": WHO,
                "scope": scope,
                "seq": point.seq,
                "at": point.at,
                "controls": [],
                "body": point.model_dump_json(),
            }


def _days(now: datetime) -> Iterator[dict[str, Any]]:
    for scope in _scopes():
        for day in range(1, DAYS + 1):
            at = now - timedelta(days=DAYS + 1 - day)
            yield {
                "_id": f"{WHO}/{scope}/{at:%Y-%m-%d}",
                "tenant": WHO,
                "scope": scope,
                "seq": day - DAYS,
                "at": at,
                "day": f"{at:%Y-%m-%d}",
                "body": _totals(day).model_dump_json(),
                "tally": DayTally().model_dump_json(),
            }


async def _write(collection: Any, documents: Iterator[dict[str, Any]]) -> None:
    some: list[dict[str, Any]] = []
    for document in documents:
        some.append(document)
        if len(some) == AT_ONCE:
            await collection.insert_many(some, ordered=False)
            some = []
    if some:
        await collection.insert_many(some, ordered=False)

"""What judging gives, before it becomes a ControlResult, and how verdicts of sub-checks combine."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from plumbline_contracts.events import Evidence, Outcome, UnknownReason

REASON_ORDER = list(UnknownReason)


@dataclass(frozen=True)
class Verdict:
    """Outcome of one check: the share of points, why, and what was seen."""

    outcome: Outcome
    explanation: str
    share: float = 0.0
    reason: UnknownReason | None = None
    compliant: int | None = None
    total: int | None = None
    exposed: int = 0
    exposed_listed: int = 0
    exposed_digest: str | None = None
    expected: str | None = None
    observed: str | None = None
    evidence: tuple[Evidence, ...] = field(default=())


def decided(share: float) -> Outcome:
    """The outcome of a measured share."""
    if share >= 1:
        return Outcome.PASS
    return Outcome.PARTIAL if share > 0 else Outcome.FAIL


def sentence(text: str) -> str:
    """`text` with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def explained(share: float, found: str, expected: str, of: str = "") -> str:
    """A sentence of what was found and what is expected (`of` whom, if of several).

    `found` is a clause that begins in lower case and names the thing and its value: "found x = 1 in Settings".
    """
    if share >= 1:
        wanted = f"{of}: {expected}" if of else expected
        is_said = expected.casefold() in (word.strip("()") for word in found.casefold().split())
        return f"As expected: {found}." if is_said else f"As expected: {found} ({wanted})."
    lead = f"Partly as expected: {found}" if share > 0 and not of else sentence(found)
    return f"{lead}; expected of {of}: {expected}." if of else f"{lead}; expected: {expected}."


def _deciding(parts: Sequence[tuple[str, Verdict]], outcome: Outcome) -> list[tuple[str, Verdict]]:
    return [(name, verdict) for name, verdict in parts if verdict.outcome is outcome]


def combine_all(parts: Sequence[tuple[str, Verdict]]) -> Verdict:
    """Every part must pass: a FAIL decides, else an UNKNOWN, else the smallest share. Parts not applicable are out."""
    asked = [(name, verdict) for name, verdict in parts if verdict.outcome is not Outcome.NOT_APPLICABLE]
    for outcome in (Outcome.FAIL, Outcome.UNKNOWN, Outcome.PARTIAL):
        if found := _deciding(asked, outcome):
            return _combined(parts, outcome, min(verdict.share for _, verdict in found), found)
    return _combined(parts, Outcome.PASS if asked else Outcome.NOT_APPLICABLE, 1.0 if asked else 0.0, asked or parts)


def combine_any(parts: Sequence[tuple[str, Verdict]]) -> Verdict:
    """One part must pass: a PASS decides, else an UNKNOWN, else the largest share. Parts not applicable are out."""
    asked = [(name, verdict) for name, verdict in parts if verdict.outcome is not Outcome.NOT_APPLICABLE]
    for outcome in (Outcome.PASS, Outcome.UNKNOWN, Outcome.PARTIAL):
        if found := _deciding(asked, outcome):
            share = 0.0 if outcome is Outcome.UNKNOWN else max(verdict.share for _, verdict in found)
            return _combined(parts, outcome, share, found)
    failed = _combined(parts, Outcome.FAIL if asked else Outcome.NOT_APPLICABLE, 0.0, asked or parts)
    return replace(failed, explanation=f"{failed.explanation} One of them would do.") if len(asked) > 1 else failed


def combine_share(parts: Sequence[tuple[str, Verdict]]) -> Verdict:
    """The part of the checks that pass is the share; one that cannot be judged counts as not passed.

    If none can be judged, the outcome is UNKNOWN. Parts not applicable are out.
    """
    asked = [(name, verdict) for name, verdict in parts if verdict.outcome is not Outcome.NOT_APPLICABLE]
    unknown = _deciding(asked, Outcome.UNKNOWN)
    if len(unknown) == len(asked):
        return _combined(parts, Outcome.UNKNOWN if asked else Outcome.NOT_APPLICABLE, 0.0, asked or parts)
    share = sum(verdict.share for _, verdict in asked) / len(asked)
    open_parts = [(name, verdict) for name, verdict in asked if verdict.share < 1]
    combined = _combined(parts, decided(share), share, open_parts or asked)
    passed = len(asked) - len(open_parts)
    lead = f"{passed} of {len(asked)} settings are as expected. " if open_parts else ""
    return replace(combined, explanation=lead + combined.explanation, compliant=passed, total=len(asked))


GRANT = " Grant "
"""How the sentence begins that names the right to grant, behind what was found."""
_MET = "As expected: "


def _named(name: str, text: str) -> str:
    """A part's text, led by the part's name unless it says it."""
    return text if name in text else f"{name}: {text}"


def _each_grant_once(texts: Iterable[str]) -> Iterator[str]:
    """The texts; where several end in the same right to grant, the first tells it for all."""
    told: set[str] = set()
    for text in texts:
        said, _, grant = text.partition(GRANT)
        yield said if grant in told else text
        told.add(grant or text)


def _told(parts: Sequence[tuple[str, Verdict]], outcome: Outcome) -> str:
    """What the deciding parts say; of parts that all comply, that they do is said once."""
    if outcome is not Outcome.PASS or not all(verdict.explanation.startswith(_MET) for _, verdict in parts):
        return " ".join(_each_grant_once(_named(name, verdict.explanation) for name, verdict in parts))
    texts = (_named(name, verdict.explanation.removeprefix(_MET).removesuffix(".")) for name, verdict in parts)
    return f"{_MET}{'; '.join(texts)}."


def _combined(
    parts: Sequence[tuple[str, Verdict]], outcome: Outcome, share: float, deciding: Sequence[tuple[str, Verdict]]
) -> Verdict:
    first = deciding[0][1]
    return Verdict(
        outcome=outcome,
        share=share,
        reason=first.reason if outcome is Outcome.UNKNOWN else None,
        explanation=_told(deciding, outcome),
        exposed=sum(verdict.exposed for _, verdict in parts),
        exposed_listed=sum(verdict.exposed_listed for _, verdict in parts),
        exposed_digest=next((v.exposed_digest for _, v in parts if v.exposed_digest), None),
        compliant=first.compliant if len(deciding) == 1 else None,
        total=first.total if len(deciding) == 1 else None,
        expected="; ".join(f"{name}: {verdict.expected}" for name, verdict in parts if verdict.expected),
        observed="; ".join(f"{name}: {verdict.observed}" for name, verdict in parts if verdict.observed),
        evidence=tuple(
            evidence.model_copy(update={"name": name, "outcome": verdict.outcome})
            for name, verdict in parts
            for evidence in verdict.evidence
        ),
    )

"""What an event that is too long does without, and in which order. Pure.

Never cut: ids, numbers, moments, enumerations, score, counts, instance, transition, and state and expiry of a decision.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from plumbline_score_api.findings.clipping import Clipper

Json = dict[str, Any]
Cut = Callable[[Json], None]
"""Takes something off an event. Parts that events share are replaced, never changed."""


class TooLongError(ValueError):
    """An event that stays too long whatever it does without."""


def shrink(event: Json, encode: Callable[[Json], bytes], most_bytes: int) -> bytes:
    """Cut `event` until it fits, and encode it. Raises TooLongError when it cannot be made to fit."""
    record = encode(event)
    for cut in CUTS:
        if len(record) <= most_bytes:
            return record
        cut(event)
        record = encode(event)
    if len(record) > most_bytes:
        raise TooLongError(
            f"The event {event['metadata']['uid']} of {event['finding_info']['uid']} has {len(record)} bytes with all "
            f"that can be cut away; {most_bytes} are allowed"
        )
    return record


def _entities(most: int, event: Json) -> None:
    event["resources"] = event["resources"][: 1 + most]
    if (counts := event["unmapped"].get("counts")) is not None:
        event["unmapped"]["counts"] = {**counts, "listed": len(event["resources"]) - 1}


def _first(path: Sequence[str], most: int, event: Json) -> None:
    """The first items of a list."""
    *parents, name = path
    parent = _replaced(event, parents)
    if parent is not None and name in parent:
        parent[name] = parent[name][:most]


def _text(path: Sequence[str], limit: int, event: Json) -> None:
    *parents, name = path
    parent = _replaced(event, parents)
    if parent is not None and name in parent:
        parent[name] = Clipper().text(parent[name], limit)


def _without(path: Sequence[str], event: Json) -> None:
    *parents, name = path
    parent = _replaced(event, parents)
    if parent is not None:
        parent.pop(name, None)


def _compared(limit: int, event: Json) -> None:
    """Expected and observed values, in evidences and assessments."""
    clipper = Clipper()
    if "evidences" in event:
        event["evidences"] = [
            {**each, "data": {name: clipper.text(value, limit) for name, value in each["data"].items()}}
            for each in event["evidences"]
        ]
    if "assessments" in event["compliance"]:
        event["compliance"]["assessments"] = [
            {**each, **({"desc": clipper.text(each["desc"], limit)} if "desc" in each else {})}
            for each in event["compliance"]["assessments"]
        ]


def _aliases(event: Json) -> None:
    """The first two names of the control."""
    info = event["finding_info"]
    if "tags" in info:
        info["tags"] = [{**tag, "values": tag["values"][:2]} for tag in info["tags"]]


def _replaced(event: Json, path: Sequence[str]) -> Json | None:
    """The object at `path`, copied so that it may be changed; None when there is none."""
    parent = event
    for name in path:
        if name not in parent:
            return None
        parent[name] = dict(parent[name])
        parent = parent[name]
    return parent


def _all(*cuts: Cut) -> Cut:
    def cut(event: Json) -> None:
        for each in cuts:
            each(event)

    return cut


CUTS: tuple[Cut, ...] = (
    *(partial(_entities, most) for most in (10, 5, 1)),
    partial(_first, ("evidences",), 1),
    partial(_first, ("compliance", "assessments"), 1),
    partial(_first, ("compliance", "status_details"), 1),
    partial(_compared, 128),
    _all(partial(_first, ("remediation", "references"), 1), partial(_text, ("remediation", "desc"), 400)),
    _all(
        partial(_text, ("finding_info", "desc"), 200),
        partial(_text, ("compliance", "desc"), 200),
        partial(_text, ("unmapped", "disposition", "reason"), 120),
    ),
    _all(
        partial(_without, ("finding_info", "attacks")),
        partial(_first, ("compliance", "requirements"), 8),
        partial(_first, ("compliance", "control_parameters"), 5),
    ),
    partial(_entities, 0),
    _all(
        partial(_first, ("finding_info", "data_sources"), 1),
        partial(_first, ("compliance", "standards"), 4),
        partial(_first, ("compliance", "requirements"), 4),
        partial(_without, ("remediation", "references")),
        _aliases,
    ),
    partial(_without, ("compliance", "control_parameters")),
)
"""In this order, one after the other, until the event fits. The last two are for names longer than a catalogue has."""

"""Whether an event may be sent: the published schema, and what it leaves open. Pure.

The schema takes any number of seconds for a time, a caption of another id, null in free objects; receivers do not.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
from plumbline_contracts.finding import MOST_FINDING_BYTES, OCSF_VERSION

from plumbline_score_api.findings.captions import (
    ACTIVITIES,
    CLASS_NAME,
    CLASS_UID,
    MEASURED,
    SEVERITIES,
    STATUSES,
)
from plumbline_score_api.findings.ocsf import encode
from plumbline_score_api.findings.state import Activity, StatusId

Json = dict[str, Any]
SCHEMA = Path(__file__).parent / "generated" / f"ocsf-{OCSF_VERSION}-compliance-finding.json"
MOST_PROBLEMS = 5
_LONGEST_PLACE = 200
_LARGEST = 2**53
"""The largest whole number that every JSON reader takes exactly."""
_FIRST, _LAST = 10**12, 10**13
"""From 2001 to 2286 in milliseconds; seconds of our days lie far below."""
_FILLED = "plumbline_filled"
_LIMITS = {
    "string": {"minLength": 1},
    "array": {"minItems": 1},
    "object": {"minProperties": 1},
    "number": {"minimum": -_LARGEST, "maximum": _LARGEST},
    "integer": {"minimum": -_LARGEST, "maximum": _LARGEST},
}
_ANYTHING = {
    "type": ["object", "array", "string", "number", "boolean"],
    **{name: limit for limits in _LIMITS.values() for name, limit in limits.items()},
    "items": {"$ref": f"#/$defs/{_FILLED}"},
    "additionalProperties": {"$ref": f"#/$defs/{_FILLED}"},
}
"""Any JSON without null, empty values and numbers that are too large."""
_REQUIRED: dict[str, tuple[str, ...]] = {
    "metadata": ("uid", "sequence", "tenant_uid", "profiles"),
    "finding_info": ("created_time", "first_seen_time", "last_seen_time", "modified_time", "modified_time_dt"),
    "compliance": ("status_id", "status", "status_code"),
}
_REQUIRED_AT_TOP = ("status_id", "status", "severity", "time_dt", "activity_name", "type_name")
"""What the schema lets one leave out, and receivers need."""
_TIMES = ("created_time", "first_seen_time", "last_seen_time", "modified_time")
_CLOSED = (StatusId.RESOLVED, StatusId.ARCHIVED, StatusId.DELETED)
_MEASURED = {verdict.value: told for verdict, told in MEASURED.items()}
_CAPTIONS = {status_id: caption for status_id, caption in MEASURED.values() if status_id != 99}


def problems(event: Json, record: bytes | None = None) -> list[str]:
    """What is wrong with an event, at most five problems; none when it may be sent. Never raises.

    `record` is the event as it is to be sent, where that is at hand. Problems name places and rules and show no values:
    they go to logs.
    """
    try:
        if not _validator().is_valid(event):
            found = [f"{_place(error.instance_path)}: {error.message}" for error in _validator().iter_errors(event)]
            return found[:MOST_PROBLEMS]
        value = encode(event) if record is None else record
    except (ValueError, RecursionError) as error:
        return [f"event: it is no JSON ({type(error).__name__})"]
    if missing := _missing(event):
        return missing[:MOST_PROBLEMS]
    return [name for name, rule in _RULES.items() if not rule(event)][:MOST_PROBLEMS] + _unfit(value)


def _missing(event: Json) -> list[str]:
    paths = [(event, "", name) for name in _REQUIRED_AT_TOP]
    paths += [(event[part], f"/{part}", name) for part, names in _REQUIRED.items() for name in names]
    return [f"{place}/{name}: it is missing" for part, place, name in paths if name not in part]


def _place(path: list[str | int]) -> str:
    return f"/{'/'.join(map(str, path))}"[:_LONGEST_PLACE]


@cache
def _validator() -> jsonschema_rs.Validator:
    published = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema = _strict(published)
    schema["$defs"][_FILLED] = _ANYTHING
    return jsonschema_rs.validator_for(schema, mask="the value")


def _strict(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """The schema with nothing empty and no number too large in it, and no null where anything is free."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _strict(each) for name, each in schema.items()}
    kind = found.get("type")
    if isinstance(kind, list) or (kind == "object" and not found.get("properties")):
        return {"$ref": f"#/$defs/{_FILLED}"}
    return {**_LIMITS.get(kind, {}), **found} if isinstance(kind, str) else found


def _unfit(record: bytes) -> list[str]:
    if len(record) > MOST_FINDING_BYTES:
        return [f"record: {len(record)} bytes, at most {MOST_FINDING_BYTES} are allowed"]
    return [] if record[:1] == b"{" and b"\n" not in record else ["record: not one line with one JSON object"]


def _type_fits(event: Json) -> bool:
    activity = ACTIVITIES.get(event["activity_id"])
    numbers = (CLASS_UID * 100 + event["activity_id"], activity, f"{CLASS_NAME}: {activity}")
    return (event["type_uid"], event["activity_name"], event["type_name"]) == numbers


def _captions_fit(event: Json) -> bool:
    captions = (
        (event, "severity", SEVERITIES),
        (event, "status", STATUSES),
        (event["compliance"], "status", _CAPTIONS),
    )
    return all(_has_caption(*each) for each in captions) and all(
        _has_caption(check, "status", _CAPTIONS) and _has_caption(check, "severity", SEVERITIES)
        for check in event["compliance"].get("checks", ())
    )


def _has_caption(part: Json, name: str, captions: dict[Any, str]) -> bool:
    """Whether id and caption agree; 99 has any caption but one of another id."""
    number, caption = part.get(f"{name}_id"), part.get(name)
    if number == 99 and captions is _CAPTIONS:
        return caption is not None and caption not in captions.values()
    return number in captions and caption == captions[number]


def _verdict_fits(event: Json) -> bool:
    compliance = event["compliance"]
    return _MEASURED.get(compliance["status_code"]) == (compliance["status_id"], compliance["status"])


def _is_pinned(event: Json) -> bool:
    return (event["metadata"]["version"], event["metadata"]["profiles"]) == (OCSF_VERSION, ["datetime"])


def _is_in_milliseconds(event: Json) -> bool:
    moments = [event["time"], *(event["finding_info"][name] for name in _TIMES)]
    return all(type(each) is int and _FIRST < each < _LAST for each in moments)


def _is_one_moment(event: Json) -> bool:
    info = event["finding_info"]
    is_same = (info["modified_time"], info["modified_time_dt"]) == (event["time"], event["time_dt"])
    is_ordered = info["created_time"] <= info["modified_time"] and info["first_seen_time"] <= info["last_seen_time"]
    return is_same and bool(is_ordered)


def _are_whole(event: Json) -> bool:
    """JSON Schema takes 2.0 for an integer, and so it would stand in the record."""
    names = ("activity_id", "type_uid", "category_uid", "class_uid", "severity_id", "status_id")
    return all(type(event[name]) is int for name in names) and type(event["compliance"]["status_id"]) is int


def _lives(event: Json) -> bool:
    """Close exactly when it is closed; nothing without a result is created."""
    status, activity = event["status_id"], event["activity_id"]
    is_close = activity == Activity.CLOSE
    return is_close == (status in _CLOSED) and not (status == StatusId.UNKNOWN and activity == Activity.CREATE)


def _is_current(event: Json) -> bool:
    return not (event.keys() & {"resource", "comment"} or "status_detail" in event["compliance"])


_RULES: dict[str, Callable[[Json], bool]] = {
    "type: activity_id, type_uid and their captions do not agree": _type_fits,
    "captions: a caption is not that of its id": _captions_fit,
    "compliance: status_code is not that of status_id": _verdict_fits,
    f"metadata: version must be {OCSF_VERSION} and profiles [datetime]": _is_pinned,
    "milliseconds: a time is no whole number of milliseconds since 1970": _is_in_milliseconds,
    "clock: time, modified_time and their texts do not agree, or a time lies before its beginning": _is_one_moment,
    "numbers: an id is no whole number": _are_whole,
    "lifecycle: activity_id does not follow from status_id": _lives,
    "deprecated: resource, comment and compliance.status_detail are not sent": _is_current,
}
"""What is wrong, and how to see that it is not. They run in this order on events that the schema takes."""

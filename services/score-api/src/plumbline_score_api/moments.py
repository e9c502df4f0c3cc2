"""Moments as callers send them: RFC 3339 in text, with an offset; never a number that is guessed to be one."""

import re
from typing import Annotated, Any

from plumbline_contracts.events import Timestamp
from pydantic import BeforeValidator

_FORM = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _rfc3339(sent: Any) -> Any:  # noqa: ANN401 - anything may be sent
    if isinstance(sent, str | int | float) and not (isinstance(sent, str) and _FORM.fullmatch(sent)):
        raise ValueError("Expected a moment such as 2026-11-25T08:00:00Z")
    return sent


Moment = Annotated[Timestamp, BeforeValidator(_rfc3339)]

"""Cursors: opaque to the caller, checked when they come back. Pure."""

import base64
import binascii
import json

from plumbline_score_api.problems import InvalidError


def encode(*parts: str | int) -> str:
    """A cursor for a position."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode(text: str, *kinds: type) -> list[str | int]:
    """The position, one value per kind. Raises InvalidError for anything that `encode` did not make."""
    try:
        parts = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError) as error:
        raise InvalidError("The cursor is not one of ours; start again without it.") from error
    if not isinstance(parts, list) or [type(part) for part in parts] != list(kinds):
        raise InvalidError("The cursor is not one of this list; start again without it.")
    if any(isinstance(part, int) and not 0 <= part < 2**31 for part in parts):
        raise InvalidError("The cursor is not one of ours; start again without it.")
    return parts

"""Cursors: opaque to the caller, checked when they come back. Pure.

A cursor belongs to one list: it carries a checksum over its position and the scope (tenant, list and filters) that it
was made for. The checksum is no secret: who forges one sees another page of his own list, and nothing else.
"""

import base64
import binascii
import hashlib
import json

from plumbline_score_api.problems import InvalidError

Position = str | int


def encode(scope: str, *parts: Position) -> str:
    """A cursor for a position in the list that `scope` names."""
    text = json.dumps([_checksum(scope, parts), *parts])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str, scope: str, *kinds: type) -> list[Position]:
    """The position, one value per kind. Raises InvalidError for anything that `encode` did not make for `scope`."""
    try:
        found = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise InvalidError("The cursor is not one of ours; start again without it.") from error
    if not isinstance(found, list) or [type(part) for part in found] != [str, *kinds]:
        raise InvalidError("The cursor is not one of this list; start again without it.")
    checksum, *parts = found
    if checksum != _checksum(scope, tuple(parts)):
        raise InvalidError("The cursor is not one of this list with these filters; start again without it.")
    return parts


def _checksum(scope: str, parts: tuple[Position, ...]) -> str:
    return hashlib.sha256(json.dumps([scope, *parts]).encode()).hexdigest()[:16]

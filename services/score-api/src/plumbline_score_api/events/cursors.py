"""The text of a place in the change log. Pure.

It is what clients keep and send back as `Last-Event-ID`. It is sealed for its tenant with the key of the log: the
numbers in it count the entries of all tenants, which nobody else need know, and what was not made here does not open.
"""

import base64
import binascii
import struct
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from plumbline_score_api.problems import BadRequestError

LONGEST = 12_000
MOST_PARTITIONS = 1000
_VERSION = b"\x01"
_NUMBER_BITS = 48
_PLACE = struct.Struct(">Q")
_BLOCK = 8
"""Cursors of up to so many partitions have one length: how many there are is nobody's business."""


class Seal:
    """Seals and opens cursors. The same place has the same cursor on every replica."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESSIV(key)

    def close(self, tenant: str, position: Mapping[int, int]) -> str:
        """The cursor of a place: at most `LONGEST` characters, 108 for the six partitions of the default set-up."""
        if len(position) > MOST_PARTITIONS:
            raise ValueError(f"the change log has {len(position)} partitions; cursors hold {MOST_PARTITIONS}")
        places = [partition << _NUMBER_BITS | number for partition, number in sorted(position.items()) if number]
        places += [0] * (_BLOCK - len(places) % _BLOCK if len(places) % _BLOCK or not places else 0)
        sealed = self._cipher.encrypt(_VERSION + b"".join(map(_PLACE.pack, places)), [tenant.encode()])
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, tenant: str, text: str) -> dict[int, int]:
        """The place of a cursor. Raises BadRequestError for anything that `close` did not make for the tenant."""
        try:
            if len(text) > LONGEST:
                raise ValueError
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            opened = self._cipher.decrypt(sealed, [tenant.encode()])
        except (ValueError, binascii.Error, InvalidTag) as error:
            raise BadRequestError("The Last-Event-ID is not one of ours; start again without it.") from error
        if opened[:1] != _VERSION:
            raise BadRequestError("The Last-Event-ID is of another release; start again without it.")
        places = (place for (place,) in _PLACE.iter_unpack(opened[1:]) if place)
        return {place >> _NUMBER_BITS: place & ((1 << _NUMBER_BITS) - 1) for place in places}

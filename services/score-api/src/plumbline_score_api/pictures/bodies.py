"""Bodies of answers, made once of each picture. Pure, in bounded memory."""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from plumbline_score_api.pictures.tenant import TenantPicture

MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of an answer, with their ETag."""

    content: bytes
    tag: str

    @classmethod
    def of(cls, content: bytes) -> "Body":
        """Bytes with their ETag."""
        return cls(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


Again = Callable[[], Awaitable[Body | None]]
"""How to find the answer as of now, if it has been made already."""


class Bodies:
    """What was answered about pictures lately: up to `most_bytes`, then what was asked for longest ago is forgotten.

    A picture never changes, so an answer about it stands as long as the picture does; what is made of anything else
    has to be part of the question.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._size = 0
        self._found: OrderedDict[tuple[int, Hashable], Body] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    def once(self, picture: TenantPicture, question: Hashable, make: Callable[[], bytes]) -> Body:
        """The answer to a question about a picture."""
        found = self.find(picture, question)
        if found is None:
            found = Body.of(make())
            self._keep((picture.number, question), found)
        return found

    def find(self, picture: TenantPicture, question: Hashable) -> Body | None:
        """The answer, if it is made and not forgotten."""
        found = self._found.get((picture.number, question))
        if found is not None:
            self._found.move_to_end((picture.number, question))
        return found

    def _keep(self, name: tuple[int, Hashable], body: Body) -> None:
        self._found[name] = body
        self._size += len(body.content)
        while self._size > self._most and len(self._found) > 1:
            _, dropped = self._found.popitem(last=False)
            self._size -= len(dropped.content)

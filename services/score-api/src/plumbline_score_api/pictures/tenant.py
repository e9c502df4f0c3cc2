"""All instances of a tenant as one picture. Pure."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from itertools import count
from typing import Any, TypeVar, cast

from plumbline_score_api.keys.schemas import Restriction
from plumbline_score_api.pictures.picture import InstancePicture, Recommendation, Version

MOST_ANSWERS = 64
T = TypeVar("T")
_NUMBERS = count()


class TenantPicture:
    """The instances by name. It never changes, so what was found in it once is kept with it."""

    def __init__(self, instances: Mapping[str, InstancePicture]) -> None:
        self.instances = instances
        self.number = next(_NUMBERS)
        """Names this picture: no other of the process has it."""
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()

    @cached_property
    def versions(self) -> dict[str, Version]:
        """What each instance's picture was made of."""
        return {name: picture.version for name, picture in self.instances.items()}

    @cached_property
    def size(self) -> int:
        """How many recommendations there are."""
        return sum(len(picture.items) for picture in self.instances.values())

    @cached_property
    def ranked(self) -> list[Recommendation]:
        """All recommendations, the most worthwhile first."""
        found = [item for picture in self.instances.values() for item in picture.items]
        return sorted(found, key=lambda item: item.rank_key)

    def find(self, instance: str, control: str) -> Recommendation | None:
        """A recommendation by control id, else by alias."""
        picture = self.instances.get(instance)
        return picture.find(control) if picture is not None else None

    def within(self, restriction: Restriction | None) -> "TenantPicture":
        """What a restricted caller sees of it; everything without a restriction."""
        if restriction is None:
            return self
        return self.once(
            ("within", restriction),
            lambda: TenantPicture(
                {name: each for name, each in self.instances.items() if restriction.admits(name, each.product)}
            ),
        )

    def once(self, question: Hashable, answer: Callable[[], T]) -> T:
        """The answer to a question about this picture, kept for those who ask again."""
        if question not in self._answers:
            self._answers[question] = answer()
            if len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)
        self._answers.move_to_end(question)
        return cast("T", self._answers[question])

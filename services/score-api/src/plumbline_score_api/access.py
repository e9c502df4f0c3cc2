"""Who may call: the guard has turned the key or token into a caller; the caller's tenant scopes everything."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict

from plumbline_score_api.keys.schemas import Caller, Role
from plumbline_score_api.problems import ForbiddenError


class NoQuery(BaseModel):
    """For routes without parameters: any is refused."""

    model_config = ConfigDict(extra="forbid")


async def caller(request: Request) -> Caller:
    """The caller of a request, whatever the roles."""
    found: Caller = request.state.caller
    return found


async def streamed(request: Request) -> None:
    """A dependency of routes whose answer is sent as it arises: it is not held in memory, and has no ETag."""
    request.state.is_streamed = True


@dataclass(frozen=True)
class Requires:
    """A dependency: the caller, who must hold one of the roles. A test finds it on every route."""

    roles: tuple[Role, ...]

    async def __call__(self, who: Annotated[Caller, Depends(caller)]) -> Caller:
        """The caller. Raises ForbiddenError."""
        if not who.roles.intersection(self.roles):
            raise ForbiddenError(f"The caller lacks the role {' or '.join(self.roles)}.")
        return who


Reader = Annotated[Caller, Depends(Requires((Role.READ, Role.WRITE)))]
Writer = Annotated[Caller, Depends(Requires((Role.WRITE,)))]
InstanceManager = Annotated[Caller, Depends(Requires((Role.INSTANCES,)))]
KeyManager = Annotated[Caller, Depends(Requires((Role.KEYS,)))]

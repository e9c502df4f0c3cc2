"""Who may call: the guard has turned the key into a caller; the caller's tenant scopes everything."""

from collections.abc import Awaitable, Callable
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


def requires(*roles: Role) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency: the caller, who must hold one of the roles."""

    async def check(who: Annotated[Caller, Depends(caller)]) -> Caller:
        if not who.roles.intersection(roles):
            raise ForbiddenError(f"The key lacks the role {' or '.join(roles)}.")
        return who

    return check


Reader = Annotated[Caller, Depends(requires(Role.READ, Role.WRITE))]
InstanceManager = Annotated[Caller, Depends(requires(Role.INSTANCES))]

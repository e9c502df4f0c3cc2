"""Who may call: the bearer key becomes a caller, the caller's tenant scopes everything."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict

from plumbline_score_api.keys.schemas import Caller, Role
from plumbline_score_api.problems import ForbiddenError, UnauthorizedError


class NoQuery(BaseModel):
    """For routes without parameters: any is refused."""

    model_config = ConfigDict(extra="forbid")


async def caller(request: Request) -> Caller:
    """The caller of a request. Raises UnauthorizedError."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise UnauthorizedError("Send a key as `Authorization: Bearer <key>`.")
    found: Caller | None = await request.app.state.services.keys.authenticate(key.strip())
    if found is None:
        raise UnauthorizedError("The key is unknown, has ended or was revoked.")
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

"""Who may call: the guard has turned the key or token into a caller; the caller's tenant scopes everything.

A caller may be restricted to some instances of its tenant. A route that says nothing about that is closed to such a
caller, unless its path names an instance that the caller sees; one that does (`Restrictable…`) passes
`who.restriction` on, and answers as if nothing else were there.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict

from plumbline_score_api.keys.schemas import Caller, Role
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.problems import ForbiddenError, NotFoundError


class NoQuery(BaseModel):
    """For routes without parameters: any is refused."""

    model_config = ConfigDict(extra="forbid")


READING = (Role.READ, Role.WRITE)


@dataclass(frozen=True)
class Session:
    """A caller and the key or token that he showed, for answers that take so long that it may end meanwhile."""

    caller: Caller
    credentials: str = field(repr=False)
    authenticate: Callable[[str], Awaitable[Caller | None]] = field(repr=False, compare=False)

    async def is_good(self) -> bool:
        """Whether it still opens what the caller may read. Raises UnavailableError."""
        found = await self.authenticate(self.credentials)
        if found is None or (found.tenant, found.restriction) != (self.caller.tenant, self.caller.restriction):
            return False
        return bool(found.roles.intersection(READING))


async def caller(request: Request) -> Caller:
    """The caller of a request, whatever the roles."""
    found: Caller = request.state.caller
    return found


async def session(request: Request) -> Session:
    """The caller of a request with what it showed."""
    found: Session = request.state.session
    return found


async def streamed(request: Request) -> None:
    """A dependency of routes whose answer is sent as it arises: it is not held in memory, and has no ETag."""
    request.state.is_streamed = True


@dataclass(frozen=True)
class Requires:
    """A dependency: the caller, who must hold one of the roles. A test finds it on every route.

    `is_restrictable` says that the route itself keeps to the caller's restriction.
    """

    roles: tuple[Role, ...]
    is_restrictable: bool = False

    async def __call__(self, request: Request, who: Annotated[Caller, Depends(caller)]) -> Caller:
        """The caller. Raises ForbiddenError, and NotFoundError for an instance that the caller does not see."""
        if not who.roles.intersection(self.roles):
            raise ForbiddenError(f"The caller lacks the role {' or '.join(self.roles)}.")
        if who.restriction is not None and not self.is_restrictable:
            await refuse_unseen(request, who, request.path_params.get("instance"))
        return who


async def refuse_unseen(request: Request, who: Caller, instance: str | None) -> None:
    """Let a restricted caller ask about an instance of its own alone. Raises ForbiddenError, NotFoundError."""
    if who.restriction is None:
        return
    if instance is None:
        raise ForbiddenError(f"The caller sees {who.restriction} alone; this is about the whole tenant.")
    pictures: PictureService = request.app.state.services.pictures
    if instance not in (await pictures.tenant(who.tenant, who.restriction)).instances:
        raise NotFoundError(f"No instance {instance} is connected.")


Reader = Annotated[Caller, Depends(Requires(READING))]
RestrictableReader = Annotated[Caller, Depends(Requires(READING, is_restrictable=True))]
Writer = Annotated[Caller, Depends(Requires((Role.WRITE,)))]
RestrictableWriter = Annotated[Caller, Depends(Requires((Role.WRITE,), is_restrictable=True))]
InstanceManager = Annotated[Caller, Depends(Requires((Role.INSTANCES,)))]
KeyManager = Annotated[Caller, Depends(Requires((Role.KEYS,)))]

"""Answering again what was answered before, without reading the same request anew.

The request of a list says in many words what to look for; parsing and checking them costs more than the answer, once
that is made. So a route remembers who asked what with which words, and how the answer of now is found. What is
remembered is never an answer: whether there is one, and which, is asked anew every time.
"""

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from plumbline_score_api.keys.schemas import Caller
from plumbline_score_api.pictures.bodies import Again, Body

MOST_QUESTIONS = 2_000
LONGEST_QUERY_BYTES = 1_000


def answered(request: Request, body: Body, again: Again) -> Response:
    """A good answer in JSON whose bytes are there, and how to find it again."""
    request.state.again = again
    return _response(body)


def _response(body: Body) -> Response:
    return Response(body.content, media_type="application/json", headers={"ETag": body.tag})


class AgainRoute(APIRoute):
    """A route that remembers questions. They differ by everything of a caller that an answer may depend on."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with a memory of its own."""
        handle = super().get_route_handler()
        known: OrderedDict[Hashable, Again] = OrderedDict()

        async def handler(request: Request) -> Response:
            question = _question(request)
            again = known.get(question)
            if again is not None and (body := await again()) is not None:
                known.move_to_end(question)
                return _response(body)
            response = await handle(request)
            found: Again | None = getattr(request.state, "again", None)
            if found is not None and len(request.scope["query_string"]) <= LONGEST_QUERY_BYTES:
                known[question] = found
                if len(known) > MOST_QUESTIONS:
                    known.popitem(last=False)
            return response

        return handler


def _question(request: Request) -> Hashable:
    who: Caller = request.state.caller
    scope = request.scope
    return who.tenant, who.roles, who.restriction, scope["path"], scope["query_string"]

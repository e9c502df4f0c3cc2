"""JSON bodies that all read alike.

A name that stands twice, a number that is none or does not fit, text that is not UTF-8: one reader takes one meaning,
the next another one, and what a proxy has checked is not what the API does. Such a body is refused.
"""

import json
import math
from email.message import Message
from typing import Any, NoReturn

from fastapi import Request
from fastapi.routing import APIRoute

from plumbline_score_api.problems import BadRequestError, UnsupportedMediaTypeError


async def read_alike(request: Request) -> None:
    """A dependency of every route: its JSON body has one meaning. Raises BadRequestError, UnsupportedMediaTypeError."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute) or route.body_field is None:
        return
    if body := await request.body():
        if not is_json(request.headers.get("content-type", "")):
            raise UnsupportedMediaTypeError("Send the body as JSON, with `Content-Type: application/json`.")
        parsed(body)


def is_json(content_type: str) -> bool:
    """Whether a media type is JSON or built on it."""
    message = Message()
    message["Content-Type"] = content_type
    kind, subtype = message.get_content_maintype(), message.get_content_subtype()
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


def parsed(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """The value of a body. Raises BadRequestError."""
    try:
        return json.loads(
            body.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_number, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise BadRequestError("The body is not JSON: it is not UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise BadRequestError("The body is not JSON, or too deep, or has a number that is too long.") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BadRequestError(f"The name {name[:100]!a} stands twice in one object of the body.")
        found[name] = value
    return found


def _no_number(text: str) -> NoReturn:
    raise BadRequestError(f"{text} is no number of JSON.")


def _finite(text: str) -> float:
    if not math.isfinite(found := float(text)):
        raise BadRequestError("A number of the body is too large.")
    return found

"""Our checks of every answer that Schemathesis gets, beside its own. Loaded by schemathesis.toml."""

import os
from typing import Any

import schemathesis

SECRET = os.environ["PLUMBLINE_TEST_SECRET"]
"""What stands in another tenant's documents alone."""

OF_ANOTHER_SHAPE = ("/graph/",)
MEANT = (
    "Value error, give either `items` or `filter`",
    "Value error, give `points`, `percent`, or both",
    "Value error, name at least one kind of event",
    "Value error, name instances, products or both",
    "Value error, expected the provider SecureScore and the vendor Microsoft or Plumbline",
    "Value error, `fair_from` must be below `good_from`",
)
"""Refusals of a value's form that the document can only describe."""


@schemathesis.hook
def before_call(_: Any, case: Any, __: Any) -> None:
    """Disconnect another instance than the one that all the other requests are about."""
    values = case.path_parameters
    if (case.operation.method.upper(), case.path) == ("DELETE", "/v1/instances/{instance}") and values:
        values["instance"] = {"sales-eu": "sales-old"}.get(values["instance"], values["instance"])


@schemathesis.check
def refused_for_its_meaning(_: Any, response: Any, case: Any) -> None:
    """What fits the document is refused for what it means, or not at all."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in (400, 422):
        return
    body = response.json()
    found = body["error"].get("details", ()) if case.path.startswith(OF_ANOTHER_SHAPE) else body.get("errors", ())
    mistakes = [each["message"] for each in found]
    assert set(mistakes) <= set(MEANT), f"the document allows what is refused: {mistakes}"


@schemathesis.check
def nothing_of_another_tenant(_: Any, response: Any, case: Any) -> None:
    """No answer holds what is another tenant's."""
    assert SECRET.encode() not in response.content, "another tenant's data"


@schemathesis.check
def every_error_is_a_problem(_: Any, response: Any, case: Any) -> None:
    """What is not good is a problem, with the status in its body."""
    if response.status_code < 400 or response.request.method == "HEAD" or case.path.startswith(OF_ANOTHER_SHAPE):
        return
    assert response.headers["content-type"] == ["application/problem+json"]
    assert response.json()["status"] == response.status_code
    assert response.json()["detail"]

"""What Microsoft's client library sees, as JSON: run by its own Python, with the API's address and a key.

python client.py http://127.0.0.1:8080/graph/v1.0 plk_…
"""

import asyncio
import json
import sys
from typing import Any

from kiota_abstractions.authentication import BaseBearerTokenAuthenticationProvider
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphServiceClient
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.secure_score_control_profile import SecureScoreControlProfile
from msgraph.generated.models.security_vendor_information import SecurityVendorInformation
from msgraph.graph_request_adapter import GraphRequestAdapter
from msgraph_core.tasks.page_iterator import PageIterator

PROFILE = "MDA_C-1"


class Key:
    """Gives the key to every request."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def get_authorization_token(self, _: str, __: dict[str, Any]) -> str:
        """The key."""
        return self._key


def client_of(address: str, key: str) -> Any:
    """The client, pointed at Plumbline."""
    adapter = GraphRequestAdapter(BaseBearerTokenAuthenticationProvider(Key(key)))
    adapter.base_url = address
    return GraphServiceClient(request_adapter=adapter)


def _configured(builder: type, parameters: str, **options: Any) -> Any:
    found: Any = RequestConfiguration(query_parameters=getattr(builder, parameters)(**options))
    return found


def _scores(client: Any, **options: Any) -> Any:
    builder = client.security.secure_scores
    return builder.get(_configured(type(builder), "SecureScoresRequestBuilderGetQueryParameters", **options))


def _profiles(client: Any, **options: Any) -> Any:
    builder = client.security.secure_score_control_profiles
    name = "SecureScoreControlProfilesRequestBuilderGetQueryParameters"
    return builder.get(_configured(type(builder), name, **options))


async def _all(client: Any, first: Any) -> list[str]:
    """The ids of all pages."""
    found: list[str] = []
    iterator = PageIterator(first, client.request_adapter)

    def keep(entity: Any) -> bool:
        found.append(entity.id)
        return True

    await iterator.iterate(keep)
    return found


def _patch(**sent: Any) -> Any:
    """A change as Microsoft's pages write it: what the model does not know is additional data."""
    body = SecureScoreControlProfile()
    body.vendor_information = SecurityVendorInformation()
    body.vendor_information.provider, body.vendor_information.vendor = "SecureScore", "Microsoft"
    body.additional_data = sent
    return body


async def _error(call: Any) -> list[Any]:
    try:
        await call
    except ODataError as error:
        return [error.response_status_code, error.error.code, error.error.message, error.error.inner_error.request_id]
    return []


async def _read_scores(client: Any) -> dict[str, Any]:
    latest = await _scores(client, top=1)
    (today,) = latest.value
    one = await client.security.secure_scores.by_secure_score_id(today.id).get()
    since = today.created_date_time.date().isoformat()
    return {
        "id": today.id,
        "tenant": today.azure_tenant_id,
        "created": today.created_date_time.isoformat(),
        "current": today.current_score,
        "max": today.max_score,
        "services": today.enabled_services,
        "vendor": today.vendor_information.vendor,
        "controls": {
            each.control_name: [each.control_category, each.score, each.description, each.additional_data]
            for each in today.control_scores
        },
        "all": await _all(client, latest),
        "whole": [each.id for each in (await _scores(client)).value],
        "one": [one.id, one.current_score, len(one.control_scores)],
        "since": [each.id for each in (await _scores(client, filter=f"createdDateTime ge {since}")).value],
        "counted": (await _scores(client, count=True, top=1)).odata_count,
        "count": await client.security.secure_scores.count.get(),
    }


async def _read_profiles(client: Any) -> dict[str, Any]:
    profile = await client.security.secure_score_control_profiles.by_secure_score_control_profile_id(PROFILE).get()
    selected = (await _profiles(client, select=["id", "maxScore"], orderby=["maxScore desc", "id"])).value
    return {
        "all": await _all(client, await _profiles(client, top=1)),
        "services": {each.id: each.service for each in (await _profiles(client)).value},
        "salesforce": [each.id for each in (await _profiles(client, filter="service eq 'MDA_SF'")).value],
        "threatened": [each.id for each in (await _profiles(client, filter="threats/any(t: t eq 'Spoofing')")).value],
        "selected": [[each.id, each.max_score, each.title] for each in selected],
        "count": await client.security.secure_score_control_profiles.count.get(),
        "profile": {
            "max": profile.max_score,
            "rank": profile.rank,
            "modified": profile.last_modified_date_time.isoformat(),
            "deprecated": profile.deprecated,
            "frameworks": [
                [each.certification_name, [one.name for one in each.certification_controls]]
                for each in profile.compliance_information
            ],
            "states": [each.state for each in profile.control_state_updates],
            "remediation": profile.remediation,
        },
    }


async def _decide(client: Any) -> dict[str, Any]:
    builder = client.security.secure_score_control_profiles.by_secure_score_control_profile_id(PROFILE)
    silent = await builder.patch(_patch(state="Ignored", comment="Until the new portal.", assignedTo="ben"))
    (after,) = (await builder.get()).control_state_updates
    asking: Any = RequestConfiguration()
    asking.headers.add("Prefer", "return=representation")
    (told,) = (await builder.patch(_patch(state="ThirdParty"), asking)).control_state_updates
    whole = await builder.get()
    whole.additional_data = {"state": "Reviewed"}
    await builder.patch(whole)
    (last,) = (await builder.get()).control_state_updates
    return {
        "silent": silent is None,
        "after": [after.state, after.comment, after.assigned_to, after.updated_by, after.updated_date_time.isoformat()],
        "told": [told.state, told.comment, told.assigned_to],
        "last": [last.state, last.comment],
        "current": (await _scores(client, top=1)).value[0].current_score,
    }


async def _errors(client: Any, address: str) -> dict[str, Any]:
    builder = client.security.secure_score_control_profiles.by_secure_score_control_profile_id
    return {
        "filter": await _error(_profiles(client, filter="nothing eq 1")),
        "gone": await _error(builder("nothing").get()),
        "state": await _error(builder(PROFILE).patch(_patch(state="Nonsense"))),
        "method": await _error(client.security.secure_scores.by_secure_score_id("x").delete()),
        "key": await _error(_scores(client_of(address, "plk_0123456789abcdef_" + "A" * 43))),
    }


def _moment(value: Any) -> str:
    """The library reads a text that looks like a moment as one, in fields that it does not know too."""
    return str(value.isoformat())


async def main(address: str, key: str) -> dict[str, Any]:
    """Everything."""
    client = client_of(address, key)
    return {
        "scores": await _read_scores(client),
        "profiles": await _read_profiles(client),
        "errors": await _errors(client, address),
        "decided": await _decide(client),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:])), default=_moment))

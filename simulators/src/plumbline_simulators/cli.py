"""The command `plumbline-simulator`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from starlette.types import ASGIApp

from plumbline_simulators import salesforce, servicenow
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.faults import EFFECTS
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.salesforce.shape import BASE_RIGHTS, EXTENDED_RIGHTS, FULL_RIGHTS, OPEN_RIGHTS
from plumbline_simulators.servicenow.instance import Instance
from plumbline_simulators.servicenow.releases import Family

app = typer.Typer(no_args_is_help=True, help="A simulated Salesforce org or ServiceNow instance over HTTP.")


class ProductName(StrEnum):
    """What to simulate."""

    SALESFORCE = "salesforce"
    SERVICENOW = "servicenow"


class SeedName(StrEnum):
    """How the simulated org is configured at first."""

    WEAK = "weak"
    STRONG = "strong"
    RESTRICTED = "restricted"


class RightsName(StrEnum):
    """What the integration user of a Salesforce org holds: one or both of the permission sets to deploy, or more."""

    BASE = "base"
    EXTENDED = "extended"
    OPEN = "open"
    FULL = "full"


_RIGHTS = {
    RightsName.BASE: BASE_RIGHTS,
    RightsName.EXTENDED: EXTENDED_RIGHTS,
    RightsName.OPEN: OPEN_RIGHTS,
    RightsName.FULL: FULL_RIGHTS,
}


@app.command()
def faults() -> None:
    """Print every kind of fault and what it does."""
    for kind, effect in EFFECTS.items():
        typer.echo(f"{kind:20}{effect}")


@app.command()
def serve(
    product: Annotated[ProductName, typer.Option()],
    port: Annotated[int, typer.Option(min=1, max=65535)],
    host: str = "127.0.0.1",
    seed: SeedName = SeedName.WEAK,
    users: Annotated[int, typer.Option(min=0, help="How many users the org has")] = 60,
    profile: Annotated[str | None, typer.Option(help="ServiceNow: a profile instead of a seed, such as xanadu")] = None,
    release: Annotated[Family | None, typer.Option(help="ServiceNow: another release than the profile's")] = None,
    roles: Annotated[int | None, typer.Option(min=0, help="ServiceNow: how many role rows the instance has")] = None,
    state: Annotated[Path | None, typer.Option(help="Keeps changed settings across restarts")] = None,
    client_id: str = Credentials.client_id,
    client_secret_file: Path | None = None,
    username: str = Credentials.username,
    password_file: Path | None = None,
    assignments: Annotated[int, typer.Option(min=1, help="Permission set assignments per user (Salesforce)")] = 3,
    connected_apps: Annotated[int, typer.Option(min=0, help="How many connected apps the org has (Salesforce)")] = 12,
    oauth_tokens: Annotated[int, typer.Option(min=0, help="How many OAuth tokens were issued (Salesforce)")] = 90,
    language: Annotated[str, typer.Option(help="The org's language, such as de or ja (Salesforce)")] = "en_US",
    gated: Annotated[bool, typer.Option(help="Features that Salesforce opens org by org are there")] = True,
    experience_cloud: Annotated[bool, typer.Option(help="Digital experiences are on (Salesforce)")] = True,
    shield: Annotated[bool, typer.Option(help="Salesforce Shield is licensed")] = True,
    custom_baseline: Annotated[bool, typer.Option(help="A weaker Health Check baseline was imported")] = False,
    rights: Annotated[RightsName | None, typer.Option(help="What the integration user holds (Salesforce)")] = None,
    daily_limit: Annotated[int, typer.Option(min=1, help="API calls a day (Salesforce)")] = 100_000,
    login_host: Annotated[bool, typer.Option(help="Answer as login.salesforce.com does")] = False,
    jwt_public_key_file: Path | None = None,
    token_lifetime: Annotated[float, typer.Option(min=0.1, help="Seconds that a token lives")] = 3600,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> None:
    """Serve one simulated org until stopped."""
    credentials = Credentials(
        client_id=client_id,
        client_secret=_secret(client_secret_file, Credentials.client_secret),
        username=username,
        password=_secret(password_file, Credentials.password),
        jwt_public_key=jwt_public_key_file.read_text() if jwt_public_key_file else None,
    )
    org: Org | Instance
    served: ASGIApp
    if product is ProductName.SALESFORCE:
        org = Org(
            seed=seed.value,
            users=users,
            assignments_per_user=assignments,
            connected_apps=connected_apps,
            oauth_tokens=oauth_tokens,
            language=language,
            has_gated_features=gated,
            has_experience_cloud=experience_cloud,
            has_shield=shield,
            has_custom_baseline=custom_baseline,
            rights=_RIGHTS[rights] if rights else None,
            daily_limit=daily_limit,
        )
        served = salesforce.app(org, credentials=credentials, state=state, is_login_host=login_host)
    else:
        try:
            org = Instance(seed=profile or seed.value, users=users, roles=roles, release=release)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--profile") from error
        served = servicenow.app(org, credentials=credentials, state=state)
    org.tokens.lifetime_seconds = token_lifetime
    uvicorn.run(served, host=host, port=port, log_level="warning", ssl_certfile=tls_cert, ssl_keyfile=tls_key)


def _secret(path: Path | None, default: str) -> str:
    return path.read_text().strip() if path else default


if __name__ == "__main__":
    app()

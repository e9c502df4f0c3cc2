"""The command `plumbline-simulator`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from starlette.types import ASGIApp

from plumbline_simulators import salesforce, servicenow
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.servicenow.instance import Instance

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


@app.callback()
def _root() -> None:
    """Keeps `serve` a sub-command."""


@app.command()
def serve(
    product: Annotated[ProductName, typer.Option()],
    port: Annotated[int, typer.Option(min=1, max=65535)],
    host: str = "127.0.0.1",
    seed: SeedName = SeedName.WEAK,
    users: Annotated[int, typer.Option(min=0, help="How many users the org has")] = 60,
    state: Annotated[Path | None, typer.Option(help="Keeps changed settings across restarts")] = None,
    client_id: str = Credentials.client_id,
    client_secret_file: Path | None = None,
    username: str = Credentials.username,
    password_file: Path | None = None,
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
    )
    org: Org | Instance
    served: ASGIApp
    if product is ProductName.SALESFORCE:
        org = Org(seed=seed.value, users=users)
        served = salesforce.app(org, credentials=credentials, state=state)
    else:
        org = Instance(seed=seed.value, users=users)
        served = servicenow.app(org, credentials=credentials, state=state)
    org.tokens.lifetime_seconds = token_lifetime
    uvicorn.run(served, host=host, port=port, log_level="warning", ssl_certfile=tls_cert, ssl_keyfile=tls_key)


def _secret(path: Path | None, default: str) -> str:
    return path.read_text().strip() if path else default


if __name__ == "__main__":
    app()

"""What can go wrong between the collector and a SaaS product.

CollectorError                  the whole connection: nothing is published, the run is tried again
├── CredentialsError            the token request or every answer says that the login is wrong
├── UnreachableError            no answer, or none that the product would give (asleep, a login page)
├── RefusedByRulesError         our own network rules forbid the address
└── BudgetExhaustedError        the connection's share of the daily API limit is used up
ReadError                       one dataset: it gets a state, the others go on
"""

from plumbline_contracts.events import DatasetState


class CollectorError(Exception):
    """A failure of the whole connection. The message names the cause and what to do."""


class CredentialsError(CollectorError):
    """The product refuses the login."""


class UnreachableError(CollectorError):
    """The product does not answer as itself."""


class RefusedByRulesError(CollectorError):
    """The address is not one that this connection may reach."""


class BudgetExhaustedError(CollectorError):
    """The share of the daily API limit is used up."""


class ReadError(Exception):
    """One dataset could not be read. `state` is what the dataset becomes; `code` is the vendor's or ours."""

    def __init__(self, state: DatasetState, code: str, message: str, *, can_halve: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.state = state
        self.code = code
        self.message = message
        self.can_halve = can_halve

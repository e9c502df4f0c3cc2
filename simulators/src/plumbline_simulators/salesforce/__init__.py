"""A stand-in of the Salesforce REST and Tooling APIs."""

from plumbline_simulators.salesforce.app import app

__all__ = ["app"]

"""A stand-in of the ServiceNow Table and Aggregate APIs."""

from plumbline_simulators.servicenow.app import app

__all__ = ["app"]

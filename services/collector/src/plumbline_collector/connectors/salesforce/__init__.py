"""Salesforce: REST and Tooling queries."""

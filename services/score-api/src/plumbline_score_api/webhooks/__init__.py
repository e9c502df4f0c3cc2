"""Webhooks: subscriptions of a tenant, the messages that they get, and their delivery."""

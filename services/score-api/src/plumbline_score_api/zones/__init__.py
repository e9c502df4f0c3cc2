"""Zones of a score: good, fair, poor, with limits of the tenant's own."""

"""Live updates: what the change log tells, sent as it is written."""

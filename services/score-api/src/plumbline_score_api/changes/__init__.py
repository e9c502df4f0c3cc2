"""The change log: numbered per partition by the replica that owns it."""

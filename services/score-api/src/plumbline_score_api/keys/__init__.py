"""API keys of machines: hashed, with roles and an end."""

"""Secure Scores: of the tenant, of products and of instances."""

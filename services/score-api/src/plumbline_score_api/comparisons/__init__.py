"""Instances side by side: with each other, with the past, with the tenant's others."""

"""Instances: health, datasets, insights, scans."""

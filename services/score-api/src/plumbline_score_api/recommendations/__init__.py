"""Recommendations: findings with their control's text."""

"""Findings as SIEMs hear of them: what is told when, in which form, and whether that form holds."""

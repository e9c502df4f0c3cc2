"""Secure Scores in the shape of Microsoft Graph, so that its clients work here."""

"""Exports: everything that a list shows in pages, as one file that is sent while it is read."""

"""The control catalogue: the format of a control file, loading, and what is published of it."""

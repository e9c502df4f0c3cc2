"""The catalogue: what each control is, and on which instances it is judged."""

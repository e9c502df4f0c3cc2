"""Release families of ServiceNow in their order, so that a control can say from which one a rule holds."""

FAMILIES = (
    "tokyo", "utah", "vancouver", "washingtondc", "xanadu", "yokohama", "zurich", "australia", "brazil",
)  # fmt: skip

FIRST_RANK = 20
RANKS = {family: rank for rank, family in enumerate(FAMILIES, start=FIRST_RANK)}
"""`family_rank` as the dataset `instance` carries it: tokyo 20, utah 21, and so on."""

"""A tenant's findings and decisions as one picture in memory, from which scores and recommendations are derived."""

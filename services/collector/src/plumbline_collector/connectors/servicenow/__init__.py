"""ServiceNow: the Table API."""

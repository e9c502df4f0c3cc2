"""All that crosses a service boundary: events, topics, record headers, ids and dataset schemas."""

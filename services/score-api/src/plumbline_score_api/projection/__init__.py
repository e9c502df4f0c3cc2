"""From events to what is served: evaluations are seen whole or not at all."""

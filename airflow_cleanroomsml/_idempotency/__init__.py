"""At most one resource per run, over an API without idempotency tokens."""

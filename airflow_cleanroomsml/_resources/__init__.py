"""What exists in the service, and how it is read."""

"""Benchmarks against the amazon provider, boto3 and moto; ``make bench`` runs them and writes ``RESULTS.md``."""

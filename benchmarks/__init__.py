"""Measurements against what users have today; ``make bench`` runs them and writes ``RESULTS.md``."""

"""Generates a lookalike audience from a million interactions, without an AWS account: ``make demo``."""

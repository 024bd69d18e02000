"""A lookalike audience of a million interactions, without an AWS account: ``make demo``."""

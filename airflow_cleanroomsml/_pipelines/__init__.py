"""Decisions between the calls of a pipeline, as plain functions: which audience model is newer, which may go, which size to export."""

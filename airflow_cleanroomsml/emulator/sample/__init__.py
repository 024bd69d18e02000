"""A sample to start with: generated interactions, a trained audience model, and a collaboration of two accounts."""

from __future__ import annotations

__all__: list[str] = []

"""Scores of masks against references, with confidence intervals."""

"""Data sets: layouts, cases, splits by patient, and data sets that are used beside the first."""

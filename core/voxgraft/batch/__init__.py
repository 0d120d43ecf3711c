"""Batch segmentation: which scans, the ledger, the work, what is left for a person to look at."""

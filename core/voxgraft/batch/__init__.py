"""Batch segmentation: ledger, outputs, previews, report."""

"""Inference: sliding window, and labels in the scan's own grid."""

"""What people decide about the scans of a batch: worklist, decisions, corrections, and the page they work in."""

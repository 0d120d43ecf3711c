"""Components: what plugins offer, how a workflow names it, and its options."""

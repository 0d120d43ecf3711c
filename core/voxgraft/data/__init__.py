"""From folders to prepared arrays: cases, fingerprint, plan, cache."""

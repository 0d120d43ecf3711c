"""From cases to arrays: fingerprint, plan, prepared arrays."""

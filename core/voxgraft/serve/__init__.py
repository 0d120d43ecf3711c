"""`voxgraft serve`: one engine of corrections behind the protocols that viewers speak."""

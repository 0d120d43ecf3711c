"""Model packages: what is in them, references to them, the stores that keep them."""

"""What a review keeps: who decided what of which scan, the masks that readers work on, and who may see them."""

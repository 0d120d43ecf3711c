"""Structures and the masks that show them."""

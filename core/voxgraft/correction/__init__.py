"""Corrections of masks by hand: redrawn slices and clicks become changes of the volume, which can be undone."""

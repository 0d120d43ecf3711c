"""Volumes and their geometry: reading, orientation, resampling, alignment of channels, writing."""

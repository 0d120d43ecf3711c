"""The demo: the main job, start to end, on brain images that it makes itself."""

"""Files, locks, paths, progress and threads: what every other folder may use."""

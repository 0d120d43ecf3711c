"""Runs: the engine that does the steps of a workflow, and the steps."""

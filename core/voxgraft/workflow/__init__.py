"""Workflow files: reading, validation, schema, and what a workflow asks of the data."""

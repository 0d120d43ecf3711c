"""Read and write RTSTRUCT objects."""

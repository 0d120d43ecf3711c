"""Scores as one page that needs no server and no network: box plots, tables, subgroups, and the worst cases shown."""

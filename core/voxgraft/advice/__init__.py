"""Advice on which encoder and which way of transfer: probes, then a short tournament, within a given time."""

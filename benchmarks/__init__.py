"""Measurements of the package, run by hand; nothing here is installed."""

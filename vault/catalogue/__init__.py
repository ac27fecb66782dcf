"""Projections of the log that people and programs search: made again from the log at any time (I7)."""

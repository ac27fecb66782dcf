"""Reaching devices: one `Recorder` port, and the drivers behind it."""

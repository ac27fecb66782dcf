"""The people-facing edge: configuration, command line, and the review pages."""

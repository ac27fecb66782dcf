"""Everything re-derived from the bytes, in numbered steps that share only pure modules with the writer."""

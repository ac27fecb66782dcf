"""Originals as they are: sample tables read, fragments computed, nothing stored, no decoder."""

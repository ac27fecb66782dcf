"""The append-only log: pure formats, the sequencer that alone writes it, the reader that believes nothing."""

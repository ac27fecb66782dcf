"""The append-only store: objects, records, and the Merkle log that seals them."""

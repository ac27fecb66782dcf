"""The review pages: served from the vault, nothing before it is logged (I6)."""

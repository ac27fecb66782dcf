"""From a device into the vault: the dock session, the one-read copy, and what is in a file."""

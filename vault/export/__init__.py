"""Handing footage out: the BagIt bag, its printed forms, and the verifier that travels with it."""

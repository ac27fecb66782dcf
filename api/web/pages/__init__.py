"""The pages: one module per group, each a router over the same `Desk` (api/web/desk.py)."""

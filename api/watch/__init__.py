"""`GET /api/watch`: the status once, then its changes, to everybody who listens."""

"""Outside callers: they know the contract, and nothing inside the server."""

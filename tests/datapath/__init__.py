"""The data path under load while the fleet changes beneath it."""

"""Performance of sparkkeep as ratios: `python -m tests.bench [a b c d] [--write]`."""

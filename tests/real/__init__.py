"""Real model servers on real hosts: sparkkeep starts, asks, repairs and ends vLLM itself (docs/REAL.md)."""

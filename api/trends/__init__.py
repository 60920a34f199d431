"""What was measured lately, kept in memory: curves, and a day in slots."""

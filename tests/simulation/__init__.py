"""The whole controller against practice Sparks, in one thread and in virtual time, with everything that can go wrong.

`virtual` is the clock, `life` is what dies in a crash, `wire` stands where SSH stands otherwise, and `sim` puts
them together: a seeded world that replays exactly. `oracle` says what must hold whatever happened. What is played is
in `stories` (crashes at every await), `histories` (random faults) and `soak` (a month of them).
"""

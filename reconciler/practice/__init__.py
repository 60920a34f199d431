"""Practice Sparks: real SSH servers on loopback with a pretend machine and a pretend Docker engine behind them.

What a newcomer sees with `--practice`, what tests talk to, and, without any socket, what the simulation runs
in virtual time. Nothing here is used when sparkkeep minds real Sparks.

From the wire inwards: `server` (SSH) → `console` (the shell a command meets) → `docker_cli` (the docker program)
→ `engine` (containers) → `machine` (memory, disk, ports). `http_api` is the Engine's socket, `models` the small
servers that run in the containers, `faults` what can go wrong, `fleet` several Sparks at once.
"""

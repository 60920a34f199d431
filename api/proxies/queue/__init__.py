"""Requests that wait: for a model that is being started, for room on a Spark, or for their turn at a busy one.

`line` is who waits for one workload, in fair order. `schedule` decides, without I/O and with the time as a value, which
models are asked for, which of those that serve give way, and how many may go; `rules` are its limits. `holds` carries
that out: it hands the router a `calls.Hold` for each request that waits, and tells the loop's demand what is wanted.
`sight` is what people and programs are told. docs/adr/0024-the-queue.md says why it is so, and how long a wait can be.
"""

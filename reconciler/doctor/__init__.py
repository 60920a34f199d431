"""`sparkkeep doctor`: is a Spark fit to be kept, and if not, what mends it. Nothing on it is changed by asking.

`examine` asks (the only file here that does I/O): the way to the Spark step by step, then a script over SSH (`asked`).
What came of it is a `case.Case`, and each family of checks is a pure function from that to findings: `way`, `session`,
`docker`, `gpu`, `room`, `clock`, `network`, `neighbours`. `checks` names every check once and says why it matters;
`verdict` puts all of them in order.
"""

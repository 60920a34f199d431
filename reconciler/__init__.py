"""The middle floor: the loop that makes Sparks be as declared.

Data flows `scan` -> `plan` -> `launch` -> `act`, with `shell`, `ssh` and `loop` around them. Read them in
that order. Nothing in here imports `api`.
"""

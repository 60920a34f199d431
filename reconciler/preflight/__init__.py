"""Preflight: an engine's flags are read before a launch, so that a slip of the pen costs a sentence and not a start.

Two things can know an engine's flags: the image itself, asked once for its own `--help` (`ask` says how, `help_text`
reads the answer), and the tables that ship here, made from the engines' real parsers (`tables`). `check` is pure: a
recipe's flags against what is known, and what is wrong with them in words. Only the image is certain: what a table
of another version does not know is a warning and never holds a launch back.
"""

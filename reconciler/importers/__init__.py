"""Recipes of other tools, read into ours.

One file per format, each pure: text in, an `Outcome` out (recipes, what is known of their workloads, and an account of
every key of the input). A key is carried, or consumed (it has no effect here, and the account says why), or lost; what
nobody thought of is lost by definition, so nothing disappears in silence (`accounts`). Commands are read, never pasted:
`lines` splits a command line the way a shell would, `programs` takes the shell's own doings apart, `flags` and
`serving` turn what is left into an engine with its flags.
"""

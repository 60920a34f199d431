"""How much memory a launch will take at its highest point, and whether a Spark has it.

Pure. `files` is what is known of a model's folder; `shape` reads from its config.json what each layer keeps of a
token; `kv_cache` and `weights` do the arithmetic and `load` puts it together for one rank; `engines` knows what each
engine takes up front and on top; `estimate` weighs the sum against what a person stated and what was really seen;
`admission` says whether it fits, in words, and whom to stop if it does not.
"""

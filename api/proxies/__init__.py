"""The data path: one address for every model, in front of the API and apart from its middleware.

`calls` has the words that its parts share.
"""

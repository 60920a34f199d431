"""Vectors and rerank scores from sentence-transformers' models: what runs in the container that a Spark builds.

It is a program of its own: nothing of sparkkeep is imported here, and sparkkeep imports nothing of it. Its parts, in
the way of a request: `app` (HTTP), `wire` (what is asked and answered), `lane` (the queue and three threads),
`batching` (what is computed together), `models` (the only file that knows torch).
"""

"""Model weights as a resource of a Spark: what a repository holds, what is there, what is missing, what may go.

Nothing is installed on a Spark: its own `curl` fetches, its own `sha256sum` checks, and the result is a Hugging Face
cache as `huggingface_hub` itself writes it. The way to read it: `repo_files` (what the hub lists), `selection` (which
of it is wanted), `cache` (what a Spark's disk says, completeness), `endpoint` (questions to the hub), `program` and
`download` (what a Spark runs), `tally`, `progress` and `failures` (what that says), `peer` (another Spark as the
source), `fetch` (puts these in order over a `Host`; it and `peer` alone wait for anything), `gc` (what may be
deleted).
"""

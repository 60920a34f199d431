"""Requests with a sound: transcripts in every format of OpenAI's API, with who speaks where that is wanted.

`multipart`, `received` and `spool` take a sound in, `wanted` says what is asked for, `asking` asks a model's server,
`words` and `turns` read what servers say, `merge` puts both together, `formats` writes it. `hearing` is one request's
life, `sounds` what all of them share.
"""

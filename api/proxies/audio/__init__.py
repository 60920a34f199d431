"""Requests with a sound: transcripts in every format of OpenAI's API, with who speaks where that is wanted.

`multipart`, `received` and `spool` take a sound in, `wanted` says what is asked for, `asking` asks a server, `words`
and `turns` read what servers say, `inquiry` asks for both and has them merged (`merge`), `formats` writes the rest.
`hearing` is one request's life, `sounds` what all of them share, `declared` who can say who speaks.
"""

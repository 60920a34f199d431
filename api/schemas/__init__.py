"""What the routes answer with, as JSON Schema in /api/openapi.json: one file a noun, as in `api.routes`.

These models describe and are never built: the status of a fleet is asked for every few seconds and is plain data
already, and a server that drops or refuses a field of its own answer because its documentation lacks it helps nobody.
That the answers are as described here is what `tests/bad_input` finds out, with every object taken as closed.
"""

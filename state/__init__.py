"""The ground floor: what is wanted and what has happened.

Nothing in here knows SSH, Docker or HTTP, and nothing in here imports the floors above.
"""

"""What stands behind the seam `calls.Routing`: who is ready, who gets a call, who may call, and how often.

`ready` keeps the set of instances that answer now, `router` chooses among them, `fleet` puts all of it together.
"""

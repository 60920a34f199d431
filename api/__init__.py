"""The top floor: the HTTP API, what guards it, and the command line. Nothing below imports it."""

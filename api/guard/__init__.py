"""What stands before every request: who may be addressed, who may call, and with what."""

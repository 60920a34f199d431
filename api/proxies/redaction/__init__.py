"""The redaction gateway: private words stay home, and come back in the answer."""

"""The redaction gateway: personal data is taken out of a request and put back into its answer."""

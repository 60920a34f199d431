"""What lies on a Spark's disks: weights, GGUF files, NIM caches. Looked at apart from the scan, and less often."""

"""Real hosts on this machine: own namespaces, own OpenSSH server, own Docker engine."""

"""The documents as programs: every command and call in them is run, every block is read by what it is written for."""

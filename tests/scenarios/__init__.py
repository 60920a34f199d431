"""Stories of a fleet, told once and played on real hosts and on practice Sparks alike."""

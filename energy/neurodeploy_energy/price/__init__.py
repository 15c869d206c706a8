"""What counts cost: profiles, estimates, joules read from counters, and whole models held against each other."""

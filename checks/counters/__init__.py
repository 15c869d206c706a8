"""Networks that this package and other counters of operations count, and what the others said."""

"""docs/results.md: what the papers claim, beside what their methods do here on real data."""

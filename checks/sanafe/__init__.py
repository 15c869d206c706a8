"""Bodies for SANA-FE."""

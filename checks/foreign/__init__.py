"""Spiking networks that other frameworks built, and whether their spikes arrive here; see `checks.foreign_modules`."""

"""Spiking networks that other frameworks built, and whether their spikes arrive in this toolkit; see `checks.foreign_modules`."""

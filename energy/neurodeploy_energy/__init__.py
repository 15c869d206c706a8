"""Layer-wise spike and energy accounting for any torch module."""

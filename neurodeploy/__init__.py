"""Train distilled spiking networks, export them to neuromorphic targets and account for their energy."""

"""Neurons, written once: their updates, surrogates, encodings and torch layers, and the kernels that compute them."""

"""Fitting a network: data, the training loop, the two phases, runs that survive."""

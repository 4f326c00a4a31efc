"""Clips in, measures out: corpora, reading and scaling audio. Knows nothing of networks."""

"""Clips in, judgements out: corpora, reading and scaling audio. Knows nothing of networks."""

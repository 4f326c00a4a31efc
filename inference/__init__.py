"""A trained run used again: representations, reconstruction, evaluation, export."""

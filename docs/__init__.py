"""Pages for readers, and the code that computes what stands on them."""

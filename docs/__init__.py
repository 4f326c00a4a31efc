"""The documentation: its pages, and what builds a site of them."""

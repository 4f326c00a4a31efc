"""The pages that teach a gradient, and the code that computes what stands on them."""

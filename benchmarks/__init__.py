"""How fast it is: ratios taken in one run, never a verdict of a test."""

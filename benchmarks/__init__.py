"""How fast it is: ratios taken in one run, never a verdict of a test."""

import sys

from training.launch import end_quietly

if sys.argv[0] == "-m":  # of python -m benchmarks.step, whose modules are still to be imported
    end_quietly("benchmarks")

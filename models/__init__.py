"""What the paper adds to the layers: the networks, the objective, the two training phases."""

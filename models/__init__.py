"""The paper: its network, its objective, its figures."""

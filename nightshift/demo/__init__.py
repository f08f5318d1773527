"""What is not real: the simulated model, and the community of the demo."""

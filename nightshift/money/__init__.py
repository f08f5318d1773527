"""What models cost: reserved before each call, settled after it, counted by whom it was for."""

"""What comes in: what bots tell, what people say in rooms of our own, what was said before we listened."""

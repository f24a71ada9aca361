"""A chat with a bot in the terminal."""

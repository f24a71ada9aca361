"""Users, channels and their chats with the bot."""

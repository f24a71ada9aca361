"""Users, channels and the chats in which they meet the bot."""

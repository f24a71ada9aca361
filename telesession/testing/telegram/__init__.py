"""Telegram as far as a bot sees it: each module keeps one thing and answers the methods for it."""

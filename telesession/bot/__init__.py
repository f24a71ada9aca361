"""What needs telebot itself: attached bots, ordered workers, states, filters, questions."""

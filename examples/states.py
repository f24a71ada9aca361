"""
Takes an order in three steps with telebot's own states, and knows after a restart where it was.

Try `/order`, and `/cancel` in the middle of it.

Only one argument is not telebot's: the states and their data are in a SQLite file, `orders.db`
unless the environment variable `BOT_DATABASE` names another. Stop the bot after any step, and start
it again in the same directory: it waits for the next one.

    > /order
    which pizza, funghi or napoli?
    > hawaii
    funghi or napoli, please
    > funghi
    how many?
    > many
    a number from 1 to 9, please
    > 2
    2 funghi, and where to?
    > 12 Hill Road
    2 funghi are on the way to 12 Hill Road
    > 12 Hill Road
    send /order to order, or /cancel to drop an order
"""

# telebot 4.37.1 annotates state.data() as a dict, which it is only inside the with block.
# mypy: allow-untyped-decorators, allow-untyped-calls, disable-error-code="attr-defined"
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

import os
import signal

from telebot import TeleBot, logger
from telebot.custom_filters import IsDigitFilter, StateFilter
from telebot.states import State, StatesGroup
from telebot.states.sync import StateContext, StateMiddleware
from telebot.types import Message

from telesession import SessionStateStorage, SQLiteStorage, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "send /order to order, or /cancel to drop an order"
PIZZAS = ("funghi", "napoli")


class Order(StatesGroup):
    pizza = State()
    number = State()
    address = State()


storage = SQLiteStorage(os.environ.get("BOT_DATABASE") or "orders.db")
bot = TeleBot(
    TOKEN or "123456:offline",
    state_storage=SessionStateStorage(storage, lifetime=24 * 3600),
    use_class_middlewares=True,
)


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)
bot.add_custom_filter(StateFilter(bot))
bot.add_custom_filter(IsDigitFilter())
bot.setup_middleware(StateMiddleware(bot))


@bot.message_handler(commands=["order"])
def begin(message: Message, state: StateContext) -> None:
    state.set(Order.pizza)
    state.reset_data()
    bot.send_message(message.chat.id, f"which pizza, {' or '.join(PIZZAS)}?")


@bot.message_handler(commands=["cancel"], state="*")
def cancel(message: Message, state: StateContext) -> None:
    state.delete()
    bot.send_message(message.chat.id, "nothing is ordered")


@bot.message_handler(state=Order.pizza)
def take_pizza(message: Message, state: StateContext) -> None:
    if message.text not in PIZZAS:
        bot.send_message(message.chat.id, f"{' or '.join(PIZZAS)}, please")
        return
    state.add_data(pizza=message.text)
    state.set(Order.number)
    bot.send_message(message.chat.id, "how many?")


@bot.message_handler(state=Order.number, is_digit=True)
def take_number(message: Message, state: StateContext) -> None:
    number = int(message.text or "")
    if not 1 <= number <= 9:
        refuse_number(message)
        return
    with state.data() as data:
        data["number"] = number
        state.set(Order.address)
        bot.send_message(message.chat.id, f"{number} {data['pizza']}, and where to?")


@bot.message_handler(state=Order.number)
def refuse_number(message: Message) -> None:
    bot.send_message(message.chat.id, "a number from 1 to 9, please")


@bot.message_handler(state=Order.address)
def take_address(message: Message, state: StateContext) -> None:
    with state.data() as data:
        order = f"{data['number']} {data['pizza']}"
        bot.send_message(message.chat.id, f"{order} are on the way to {message.text}")
        state.delete()


@bot.message_handler()
def explain(message: Message) -> None:
    bot.send_message(message.chat.id, HELP)


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)

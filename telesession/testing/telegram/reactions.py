"""The reactions under messages: those of the bot and those of users."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, RefusedError
from telesession.testing.telegram.directory import bot_user
from telesession.testing.telegram.history import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.bot_messages import BotMessages

# https://core.telegram.org/bots/api#reactiontypeemoji
_EMOJI = frozenset(
    {
        *"❤👍👎🔥🥰👏😁🤔🤯😱🤬😢🎉🤩🤮💩🙏👌🕊🤡🥱🥴😍🐳🌚🌭💯🤣⚡🍌🏆💔🤨😐🍓",
        *"🍾💋🖕😈😴😭🤓👻👀🎃🙈😇😨🤝✍🤗🫡🎅🎄☃💅🤪🗿🆒💘🙉🦄😘💊🙊😎👾🤷😡",
        "❤\u200d🔥",
        "👨\u200d💻",
        "🤷\u200d♂",
        "🤷\u200d♀",
    }
)


class Reactions:
    """
    The reactions under each message, by the user or chat that has reacted.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        messages: The messages.
    """

    def __init__(self, messages: BotMessages) -> None:
        self._messages = messages
        # address -> id of a user or chat -> each `ReactionType`
        self._reactions: defaultdict[Address, dict[int, list[JSON]]] = defaultdict(dict)

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "setMessageReaction": self._set,
            "deleteMessageReaction": self._delete,
            "deleteAllMessageReactions": self._delete_all,
        }

    def note(self, update: JSON) -> None:
        """Know the reactions of a user or a chat, if an update has them."""
        changed = update.get("message_reaction", {})
        actor = changed.get("user") or changed.get("actor_chat")
        if actor:
            address = Address(changed["chat"]["id"], changed["message_id"])
            self._reactions[address][actor["id"]] = changed["new_reaction"]

    def of(self, address: Address) -> list[str]:
        """The emoji under a message; `paid` and the ids of custom emoji are there as they are."""
        reactions = self._reactions[address].values()
        return [_label(one) for by_one in reactions for one in by_one]

    def _set(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#setmessagereaction."""
        message = self._messages.find(call, "react")
        wanted = call.json("reaction") or []
        if len(wanted) > 1:
            raise RefusedError(400, "Bad Request: REACTIONS_TOO_MANY")
        if not all(map(_is_allowed, wanted)):
            raise RefusedError(400, "Bad Request: REACTION_INVALID")
        self._reactions[Address.of(message)][bot_user(call.token)["id"]] = wanted
        return True

    def _delete(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#deletemessagereaction."""
        message = self._messages.find(call, "delete reaction from")
        self._reactions[Address.of(message)].pop(_actor(call), None)
        return True

    def _delete_all(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#deleteallmessagereactions."""
        chat_id = self._messages.chat_of(call)["id"]
        for address, reactions in self._reactions.items():
            if address.chat_id == chat_id:
                reactions.pop(_actor(call), None)
        return True


def _actor(call: Call) -> int:
    """The id of the user or chat whose reactions a call deletes."""
    return call.integer("user_id") or call.integer("actor_chat_id") or 0


def _is_allowed(reaction: JSON) -> bool:
    """Whether a bot may react so."""
    if reaction["type"] == "emoji":
        # Without the variation selector that some keyboards add.
        return str(reaction["emoji"]).replace("\ufe0f", "") in _EMOJI
    return bool(reaction["type"] == "custom_emoji")


def _label(reaction: JSON) -> str:
    return str(reaction.get("emoji") or reaction.get("custom_emoji_id") or reaction["type"])

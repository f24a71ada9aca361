"""The reactions under messages: those of the bot and those of users."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.directory import bot_user
from telesession.testing.telegram.history import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from telesession.testing.server.updates import Updates
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


# The most that one user has under one message, as with Telegram Premium.
_MAX_OF_USER = 3


class Reactions:
    """
    The reactions under each message, by the user or chat that has reacted.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        messages: The messages.
        updates: The queue of updates.
    """

    def __init__(self, messages: BotMessages, updates: Updates) -> None:
        self._messages = messages
        self._updates = updates
        # address -> id of a user or chat -> each `ReactionType`
        self._reactions: defaultdict[Address, dict[int, list[JSON]]] = defaultdict(dict)

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "setMessageReaction": self._set,
            "deleteMessageReaction": self._delete,
            "deleteAllMessageReactions": self._delete_all,
        }

    def react(self, message: JSON, actor: Mapping[str, JSON], emoji: Sequence[str]) -> JSON:
        """
        Let someone put emoji under a message, and return the update about it.

        Args:
            message: The message, as it is now.
            actor: The field of the `message_reaction` that has the actor: `user` or `actor_chat`.
            emoji: The emoji in place of the former ones.

        Raises `ValueError` if Telegram's apps would not let the actor do so.
        """
        new = [{"type": "emoji", "emoji": _offered(one)} for one in emoji]
        [actor_id] = [each["id"] for each in actor.values()]
        address = Address.of(message)
        old = self._reactions[address].get(actor_id, [])
        _refuse_reaction(old, new)
        self._reactions[address][actor_id] = new
        place = {
            "chat": message["chat"],
            "message_id": message["message_id"],
            "date": int(time.time()),
        }
        if message["chat"]["type"] == "channel":
            counted = {**place, "reactions": self._count(address)}
            return self._updates.push({"message_reaction_count": counted})
        changed = {**place, **actor, "old_reaction": old, "new_reaction": new}
        return self._updates.push({"message_reaction": changed})

    def note(self, update: JSON) -> None:
        """Store the reactions of a user or a chat, if an update has them."""
        changed = update.get("message_reaction", {})
        actor = changed.get("user") or changed.get("actor_chat")
        if actor:
            address = Address(changed["chat"]["id"], changed["message_id"])
            self._reactions[address][actor["id"]] = changed["new_reaction"]

    def of(self, address: Address) -> list[str]:
        """The emoji under a message; `paid` and the ids of custom emoji are there as they are."""
        reactions = self._reactions[address].values()
        return [_label(one) for by_one in reactions for one in by_one]

    def _count(self, address: Address) -> list[JSON]:
        """Each `ReactionCount` of a message, the most frequent first."""
        reactions = [one for by_one in self._reactions[address].values() for one in by_one]
        kinds = {_label(one): one for one in reactions}
        counts = Counter(map(_label, reactions))
        return [
            {"type": kinds[label], "total_count": count} for label, count in counts.most_common()
        ]

    def _set(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#setmessagereaction."""
        message = self._messages.find(call, "react")
        wanted = call.json("reaction") or []
        if len(wanted) > 1:
            raise bad_request("REACTIONS_TOO_MANY")
        if not all(map(_is_allowed, wanted)):
            raise bad_request("REACTION_INVALID")
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


def _refuse_reaction(old: Sequence[JSON], new: Sequence[JSON]) -> None:
    """Raise `ValueError` for a reaction that Telegram's apps do not offer."""
    if len(new) > _MAX_OF_USER:
        raise ValueError(f"a user has up to {_MAX_OF_USER} reactions to a message, not {len(new)}")
    if new == old:
        shown = " ".join(map(_label, old))
        reason = f"{shown} is there already" if old else "give an emoji; there is none to take back"
        raise ValueError(f"cannot react: {reason}")


def _offered(emoji: str) -> str:
    """An emoji as Telegram writes it; raises `ValueError` if it is no reaction of Telegram."""
    plain = _plain(emoji)
    if plain not in _EMOJI:
        raise ValueError(
            f"{emoji!r} is no reaction of Telegram, as 👍 is; they are listed at "
            "https://core.telegram.org/bots/api#reactiontypeemoji"
        )
    return plain


def _plain(emoji: str) -> str:
    """An emoji without the variation selector that some keyboards add."""
    return emoji.replace("\ufe0f", "")


def _is_allowed(reaction: JSON) -> bool:
    """Whether a bot may react so."""
    if reaction["type"] == "emoji":
        return _plain(str(reaction["emoji"])) in _EMOJI
    return bool(reaction["type"] == "custom_emoji")


def _label(reaction: JSON) -> str:
    return str(reaction.get("emoji") or reaction.get("custom_emoji_id") or reaction["type"])

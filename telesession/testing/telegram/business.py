"""The business accounts that a bot manages."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.bot_messages import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.server.updates import Updates
    from telesession.testing.telegram.bot_messages import BotMessages
    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.payments import Payments

# Every right that the owner of an account can give to a bot.
_RIGHTS = dict.fromkeys(
    (
        *("can_reply", "can_read_messages", "can_delete_sent_messages"),
        *("can_delete_all_messages", "can_edit_name", "can_edit_bio", "can_edit_profile_photo"),
        *("can_edit_username", "can_change_gift_settings", "can_view_gifts_and_stars"),
        *("can_convert_gifts_to_stars", "can_transfer_and_upgrade_gifts", "can_transfer_stars"),
        "can_manage_stories",
    ),
    True,
)


class BusinessAccounts:
    """
    The connections to business accounts, the profiles of the owners, and their stars.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The owners.
        messages: The messages that a bot reads for an account.
        payments: The stars of the bot.
        updates: The queue of updates.
    """

    def __init__(
        self, directory: Directory, messages: BotMessages, payments: Payments, updates: Updates
    ) -> None:
        self._directory = directory
        self._messages = messages
        self._payments = payments
        self._updates = updates
        # connection id -> seconds since 1970
        self._dates: dict[str, int] = {}
        # connection id -> the stars of the account
        self._stars: defaultdict[str, int] = defaultdict(int)

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "getBusinessConnection": self._get,
            "readBusinessMessage": self._read,
            "setBusinessAccountName": self._set_name,
            "setBusinessAccountUsername": self._set_username,
            "setBusinessAccountBio": self._set_bio,
            "setBusinessAccountGiftSettings": self._set_gift_settings,
            "getBusinessAccountStarBalance": lambda call: {"amount": self._stars[_id_of(call)]},
            "transferBusinessAccountStars": self._transfer_stars,
        }

    def connect(self, connection_id: str, *, is_enabled: bool) -> JSON:
        """Let the owner of an account connect the bot or end that; returns the update."""
        self._directory.connect(connection_id, is_enabled=is_enabled)
        return self._updates.push({"business_connection": self._connection(connection_id)})

    def add_stars(self, connection_id: str, stars: int) -> None:
        """
        Give stars to an account, or with a number below 0 take them.

        Raises `RefusedError` if the account has fewer.
        """
        if self._stars[connection_id] + stars < 0:
            raise bad_request("BALANCE_TOO_LOW")
        self._stars[connection_id] += stars

    def _get(self, call: Call) -> JSON:
        return self._connection(_id_of(call))

    def _connection(self, connection_id: str) -> JSON:
        """See https://core.telegram.org/bots/api#businessconnection."""
        is_enabled = self._directory.is_connected(connection_id)
        owner = self._directory.owner(connection_id)
        return {
            "id": connection_id,
            "user": owner,
            "user_chat_id": owner["id"],
            "date": self._dates.setdefault(connection_id, int(time.time())),
            "is_enabled": is_enabled,
            **({"rights": _RIGHTS} if is_enabled else {}),
        }

    def _read(self, call: Call) -> bool:
        self._messages.find(call, "read")
        return True

    def _set_name(self, call: Call) -> bool:
        names = {"first_name": require(call, "first_name")}
        self._change_owner(call, {**names, "last_name": call.params.get("last_name")})
        return True

    def _set_username(self, call: Call) -> bool:
        self._change_owner(call, {"username": call.params.get("username")})
        return True

    def _change_owner(self, call: Call, fields: JSON) -> None:
        """Set fields of the `User` of an account; remove those that are empty."""
        owner = owner_of(call, self._directory)
        owner.update(fields)
        for name in [name for name, value in fields.items() if not value]:
            del owner[name]
        self._directory.add_owner(_id_of(call), owner)

    def _set_bio(self, call: Call) -> bool:
        self._details_of(call)["bio"] = str(call.params.get("bio") or "")
        return True

    def _set_gift_settings(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#setbusinessaccountgiftsettings."""
        self._details_of(call)["accepted_gift_types"] = call.json("accepted_gift_types")
        return True

    def _details_of(self, call: Call) -> JSON:
        """The fields of the `ChatFullInfo` of the owner that `getChat` shows."""
        return self._directory.details(owner_of(call, self._directory)["id"])

    def _transfer_stars(self, call: Call) -> bool:
        stars = call.integer("star_count") or 0
        self.add_stars(_id_of(call), -stars)
        owner = owner_of(call, self._directory)
        kind = "business_account_transfer"
        self._payments.earn(stars, {"type": "user", "transaction_type": kind, "user": owner})
        return True


def owner_of(call: Call, directory: Directory) -> JSON:
    """
    The owner of the business account that a call names.

    Raises `RefusedError` if the call names none, or one that is not there.
    """
    return directory.owner(_id_of(call))


def _id_of(call: Call) -> str:
    """The id of the connection that a call names."""
    return str(require(call, "business_connection_id"))

"""The gifts that a bot has given, and those of the accounts and chats that have them."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram import content
from telesession.testing.telegram.bot_messages import require, without
from telesession.testing.telegram.business import owner_of
from telesession.testing.telegram.directory import bot_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.business import BusinessAccounts
    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.media import Media
    from telesession.testing.telegram.payments import Payments

# Some of Telegram's gifts: the id, the emoji of the sticker, and the price in stars.
_GIFTS = (
    ("5170145012310081615", "💝", 15),
    ("5170233102089322756", "🧸", 15),
    ("5170250947678437525", "🎁", 25),
    ("5168103777563050263", "🌹", 25),
    ("5170144170496491616", "🎂", 50),
    ("5170564780938756245", "🚀", 50),
    ("5168043875654172773", "🏆", 100),
    ("5170690322832818290", "💍", 100),
)
_UPGRADE_STARS = 25

# months of Telegram Premium -> stars
_PREMIUM = {3: 1000, 6: 1500, 12: 2500}

# The fields of a gift that only the bot of a business account sees.
_OF_BUSINESS = (
    *("owned_gift_id", "is_saved", "can_be_upgraded", "can_be_transferred"),
    *("convert_star_count", "transfer_star_count", "next_transfer_date"),
)

# The parameters of the methods that list gifts, and the gifts that each leaves out.
_EXCLUDED: dict[str, Callable[[JSON], Any]] = {
    "exclude_unique": lambda gift: gift["type"] == "unique",
    "exclude_unlimited": lambda gift: gift["type"] == "regular",
    "exclude_saved": lambda gift: gift["is_saved"],
    "exclude_unsaved": lambda gift: not gift["is_saved"],
}


class Gifts:
    """
    Gives gifts, lists those of users and chats, and acts on those of business accounts.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The users and chats that get gifts.
        accounts: The business accounts, whose stars pay for upgrades.
        payments: The stars of the bot.
        media: Makes the texts of gifts.
    """

    def __init__(
        self,
        directory: Directory,
        accounts: BusinessAccounts,
        payments: Payments,
        media: Media,
    ) -> None:
        self._directory = directory
        self._accounts = accounts
        self._payments = payments
        self._media = media
        self._available = {gift[0]: _gift(*gift) for gift in _GIFTS}
        # id of a user or chat -> each `OwnedGift`, the latest first
        self._owned: defaultdict[int, list[JSON]] = defaultdict(list)

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "getAvailableGifts": lambda _: {"gifts": list(self._available.values())},
            "sendGift": self._send,
            "giftPremiumSubscription": self._give_premium,
            "getUserGifts": lambda call: self._public(call, call.integer("user_id") or 0),
            "getChatGifts": lambda call: self._public(call, self._chat_id(call, "chat_id")),
            "getBusinessAccountGifts": lambda call: self._page(
                call, owner_of(call, self._directory)["id"]
            ),
            "convertGiftToStars": self._convert,
            "upgradeGift": self._upgrade,
            "transferGift": self._transfer,
        }

    def _send(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#sendgift."""
        gift = self._available.get(str(require(call, "gift_id")))
        if gift is None:
            raise bad_request("STARGIFT_INVALID")
        receiver = call.params.get("user_id") or require(call, "chat_id")
        chat = self._directory.chat(receiver)
        paid = call.flag("pay_for_upgrade")
        price = gift["star_count"] + (_UPGRADE_STARS if paid else 0)
        self._payments.spend(price, {**self._partner(chat, "gift_purchase"), "gift": gift})
        owned = {
            "type": "regular",
            "gift": gift,
            "owned_gift_id": uuid4().hex,
            "sender_user": bot_user(call.token),
            "send_date": int(time.time()),
            **self._text(call),
            "is_saved": True,
            "can_be_upgraded": True,
            "convert_star_count": gift["star_count"] * 85 // 100,
            **({"prepaid_upgrade_star_count": _UPGRADE_STARS} if paid else {}),
        }
        self._owned[chat["id"]].insert(0, owned)
        return True

    def _text(self, call: Call) -> JSON:
        """The text that goes with a gift, and its entities."""
        names = {"text": "text", "parse_mode": "text_parse_mode", "entities": "text_entities"}
        return self._media.formatted({name: call.params.get(of) for name, of in names.items()})

    def _give_premium(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#giftpremiumsubscription."""
        months, stars = call.integer("month_count") or 0, call.integer("star_count")
        if stars is None or _PREMIUM.get(months) != stars:
            raise bad_request("PREMIUM_GIFT_CODE_INVALID")
        user = self._directory.user(call.integer("user_id") or 0)
        partner = self._partner(self._directory.chat(user["id"]), "premium_purchase")
        self._payments.spend(stars, {**partner, "premium_subscription_duration": months})
        user["is_premium"] = True
        return True

    def _public(self, call: Call, owner_id: int) -> JSON:
        """The gifts of a user or chat, as others see them."""
        page = self._page(call, owner_id)
        return {**page, "gifts": [without(gift, *_OF_BUSINESS) for gift in page["gifts"]]}

    def _page(self, call: Call, owner_id: int) -> JSON:
        """See https://core.telegram.org/bots/api#ownedgifts."""
        excluded = [test for name, test in _EXCLUDED.items() if call.flag(name)]
        gifts = [one for one in self._owned[owner_id] if not any(test(one) for test in excluded)]
        first = call.integer("offset") or 0
        end = first + (call.integer("limit") or 100)
        more = {"next_offset": str(end)} if end < len(gifts) else {}
        return {"total_count": len(gifts), "gifts": gifts[first:end], **more}

    def _convert(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#convertgifttostars."""
        gift = self._take(call, "regular", "STARGIFT_CONVERT_UNAVAILABLE")
        self._accounts.add_stars(
            require(call, "business_connection_id"), gift["convert_star_count"]
        )
        return True

    def _upgrade(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#upgradegift."""
        price = call.integer("star_count") or 0
        gift = self._find(call, "regular", "STARGIFT_ALREADY_UPGRADED")
        if price != (0 if "prepaid_upgrade_star_count" in gift else _UPGRADE_STARS):
            raise bad_request("STARGIFT_UPGRADE_UNAVAILABLE")
        self._accounts.add_stars(require(call, "business_connection_id"), -price)
        names = ("owned_gift_id", "sender_user", "send_date", "is_saved")
        kept = {name: gift[name] for name in names}
        gift_now = {"type": "unique", "gift": _unique(gift["gift"]), "can_be_transferred": True}
        gifts = self._owned[owner_of(call, self._directory)["id"]]
        gifts[gifts.index(gift)] = {**gift_now, **kept}
        return True

    def _transfer(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#transfergift."""
        gift = self._take(call, "unique", "STARGIFT_NOT_UNIQUE")
        stars = call.integer("star_count") or 0
        self._accounts.add_stars(require(call, "business_connection_id"), -stars)
        self._owned[self._chat_id(call, "new_owner_chat_id")].insert(0, gift)
        return True

    def _take(self, call: Call, kind: str, otherwise: str) -> JSON:
        gift = self._find(call, kind, otherwise)
        self._owned[owner_of(call, self._directory)["id"]].remove(gift)
        return gift

    def _find(self, call: Call, kind: str, otherwise: str) -> JSON:
        """The gift of a business account that a call names, if it is of a kind."""
        for gift in self._owned[owner_of(call, self._directory)["id"]]:
            if gift["owned_gift_id"] == call.params.get("owned_gift_id"):
                if gift["type"] != kind:
                    raise bad_request(f"{otherwise}")
                return gift
        raise bad_request("STARGIFT_NOT_FOUND")

    def _chat_id(self, call: Call, name: str) -> int:
        return int(self._directory.chat(require(call, name))["id"])

    def _partner(self, chat: JSON, kind: str) -> JSON:
        """The `TransactionPartner` that a chat is."""
        if chat["type"] != "private":
            return {"type": "chat", "chat": chat}
        user = self._directory.user(chat["id"])
        return {"type": "user", "transaction_type": kind, "user": user}


def _gift(gift_id: str, emoji: str, stars: int) -> JSON:
    sticker = content.sticker(emoji)["sticker"]
    return {
        "id": gift_id,
        "sticker": without(sticker, "set_name"),
        "star_count": stars,
        "upgrade_star_count": _UPGRADE_STARS,
    }


def _unique(gift: JSON) -> JSON:
    """The `UniqueGift` that a gift becomes; see https://core.telegram.org/bots/api#uniquegift."""
    number = uuid4().int % 10**6 + 1
    colors = dict.fromkeys(("center_color", "edge_color", "symbol_color", "text_color"), 0xFFFFFF)
    part = {"sticker": gift["sticker"], "rarity_per_mille": 15}
    return {
        "gift_id": gift["id"],
        "base_name": "Gift",
        "name": f"Gift-{number}",
        "number": number,
        "model": {"name": "Model", **part},
        "symbol": {"name": "Symbol", **part},
        "backdrop": {"name": "Backdrop", "colors": colors, "rarity_per_mille": 15},
    }

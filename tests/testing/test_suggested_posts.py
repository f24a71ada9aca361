"""Posts that users suggest to a channel on the loopback Bot API: the bot decides on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from telesession.testing import BotAPI, User

CHAT = -1002


@pytest.mark.parametrize(
    ("method", "state"),
    [("approve_suggested_post", "approved"), ("decline_suggested_post", "declined")],
)
def test_a_post_has_the_decision_of_the_bot(
    api: BotAPI, bot: Any, ada: User, method: str, state: str
) -> None:
    """The message of the post shows the decision, which is made once."""
    post = ada.suggest("news", chat=api.direct_messages(CHAT))["message"]
    former = post["suggested_post_info"]["state"]
    getattr(bot, method)(CHAT, post["message_id"])

    decided = api.find_message(CHAT, post["message_id"]) or {}

    assert ("pending", state) == (former, decided["suggested_post_info"]["state"])
    with pytest.raises(ApiTelegramException, match="suggested post can't be declined"):
        bot.decline_suggested_post(CHAT, post["message_id"])


def test_another_message_is_no_post(bot: Any, ada: User) -> None:
    """A message that is no suggested post cannot be approved."""
    message = ada.send("hi")["message"]

    with pytest.raises(ApiTelegramException, match="suggested post can't be approved"):
        bot.approve_suggested_post(ada.id, message["message_id"])

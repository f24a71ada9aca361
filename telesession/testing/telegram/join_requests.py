"""The requests of users to join chats, and the decisions of the bot about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.bot_messages import require
from telesession.testing.telegram.member_methods import user_id_of
from telesession.testing.telegram.members import is_present

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.invite_links import InviteLinks
    from telesession.testing.telegram.members import Members


class JoinRequests:
    """
    The join requests that wait for a decision.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The chats and the bot.
        members: The members of the chats.
        links: The links that requests are made through.
    """

    def __init__(self, directory: Directory, members: Members, links: InviteLinks) -> None:
        self._directory = directory
        self._members = members
        self._links = links
        # (chat id, user id) -> the `ChatJoinRequest`
        self._waiting: dict[tuple[int, int], JSON] = {}

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "approveChatJoinRequest": self._approve,
            "declineChatJoinRequest": self._decline,
            "answerChatJoinRequestQuery": self._answer,
            "sendChatJoinRequestWebApp": self._open_web_app,
        }

    def note(self, update: JSON) -> None:
        """Store the join request in an update, if there is one."""
        if request := update.get("chat_join_request"):
            self._waiting[request["chat"]["id"], request["from"]["id"]] = request

    def _approve(self, call: Call) -> bool:
        self._admit(*self._take(call))
        return True

    def _answer(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#answerchatjoinrequestquery."""
        request = self._by_query(call)
        chat, result = request["chat"], call.params.get("result")
        if result not in {"approve", "decline", "queue"}:
            raise bad_request("invalid result specified")
        if result != "queue":
            del self._waiting[chat["id"], request["from"]["id"]]
        if result == "approve":
            self._admit(chat, request)
        return True

    def _open_web_app(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#sendchatjoinrequestwebapp."""
        self._by_query(call)
        require(call, "web_app_url")
        return True

    def _by_query(self, call: Call) -> JSON:
        """The waiting request with the query that a call names."""
        query_id = require(call, "chat_join_request_query_id")
        for request in self._waiting.values():
            if request.get("query_id") == query_id:
                return request
        raise bad_request("query is too old and response timeout expired or query ID is invalid")

    def _admit(self, chat: JSON, request: JSON) -> None:
        """Let the user of a request into the chat."""
        user, bot = request["from"], self._directory.bot
        if link := request.get("invite_link"):
            self._links.admit(chat, user, link, bot)
        else:
            self._members.add(chat, [user], {"from": user}, by=bot, via_join_request=True)

    def _decline(self, call: Call) -> bool:
        self._take(call)
        return True

    def _take(self, call: Call) -> tuple[JSON, JSON]:
        """The chat and the waiting request that a call names; it waits no longer."""
        chat = self._directory.chat_to_write(require(call, "chat_id"))
        user_id = user_id_of(call)
        request = self._waiting.pop((chat["id"], user_id), None)
        if request is None:
            is_member = is_present(self._members.get(chat, user_id))
            reason = "USER_ALREADY_PARTICIPANT" if is_member else "HIDE_REQUESTER_MISSING"
            raise bad_request(f"{reason}")
        return chat, request

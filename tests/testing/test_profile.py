"""The profile that a bot gives itself: commands, texts, menu buttons, rights and photos."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from telesession.testing import BotAPI, User

CHAT = types.BotCommandScopeChat(1)
PRIVATE = types.BotCommandScopeAllPrivateChats()
GROUPS = types.BotCommandScopeAllGroupChats()


def set_command(bot: Any, name: str, scope: Any = None, language: str | None = None) -> None:
    """Declare one command."""
    bot.set_my_commands([types.BotCommand(name, "does it")], scope, language)


def names(commands: list[Any]) -> list[str]:
    """The names of commands, in any of their forms."""
    return [one["command"] if isinstance(one, dict) else one.command for one in commands]


def photo() -> types.InputProfilePhotoStatic:
    """A profile photo."""
    return types.InputProfilePhotoStatic(types.InputFile(BytesIO(b"photo"), "me.jpg"))


def test_commands_come_back(bot: Any) -> None:
    """The bot reads the commands that it has set, without the slash that Telegram drops."""
    bot.set_my_commands([types.BotCommand("/start", "begin"), types.BotCommand("help", "ask")])

    commands = bot.get_my_commands()

    assert [("start", "begin"), ("help", "ask")] == [(c.command, c.description) for c in commands]


def test_commands_belong_to_a_scope_and_a_language(bot: Any) -> None:
    """The bot reads the commands of exactly the scope and the language that it names."""
    set_command(bot, "all")
    set_command(bot, "german", language="de")
    set_command(bot, "group", GROUPS)
    places: list[tuple[Any, str | None]] = [(None, None), (None, "de"), (GROUPS, None)]
    places += [(GROUPS, "de"), (CHAT, None)]

    found = [names(bot.get_my_commands(*place)) for place in places]

    assert [["all"], ["german"], ["group"], [], []] == found


def test_commands_are_deleted(bot: Any) -> None:
    """The bot deletes the commands of one scope, and an empty list deletes them too."""
    for scope in (None, PRIVATE, CHAT):
        set_command(bot, "tea", scope)
    bot.delete_my_commands(PRIVATE)
    bot.set_my_commands([], CHAT)

    found = [names(bot.get_my_commands(scope)) for scope in (None, PRIVATE, CHAT)]

    assert [["tea"], [], []] == found


@pytest.mark.parametrize(
    ("command", "description", "refusal"),
    [
        ("Start", "begin", "BOT_COMMAND_INVALID"),
        ("make-tea", "begin", "BOT_COMMAND_INVALID"),
        ("/", "begin", "command must be non-empty"),
        ("a" * 33, "begin", "command length must not exceed 32"),
        ("start", " ", "command description must be non-empty"),
        ("start", "a" * 257, "command description length must not exceed 256"),
    ],
)
def test_a_command_is_checked(bot: Any, command: str, description: str, refusal: str) -> None:
    """A name that Telegram refuses is refused, and the former commands stay."""
    set_command(bot, "tea")

    with pytest.raises(ApiTelegramException, match=refusal):
        bot.set_my_commands([types.BotCommand(command, description)])

    assert ["tea"] == names(bot.get_my_commands())


def test_a_bot_has_at_most_100_commands(bot: Any) -> None:
    """A list of 101 commands is refused."""
    commands = [types.BotCommand(f"tea{number}", "makes it") for number in range(101)]

    with pytest.raises(ApiTelegramException, match="BOT_COMMANDS_TOO_MUCH"):
        bot.set_my_commands(commands)


def test_a_user_sees_the_closest_commands(api: BotAPI, bot: Any) -> None:
    """The chat goes before all private chats, these before all, and a language before none."""
    api.user(5, language_code="de")
    steps: list[tuple[Any, str | None]] = [(None, None), (None, "de"), (PRIVATE, None)]
    steps += [(PRIVATE, "de"), (types.BotCommandScopeChat(5), None)]
    steps += [(types.BotCommandScopeChat(5), "de")]
    seen = []
    for number, (scope, language) in enumerate(steps):
        set_command(bot, f"step{number}", scope, language)
        seen += names(api.commands_of(5))

    assert [f"step{number}" for number in range(len(steps))] == seen


def test_a_user_does_not_see_commands_of_others(api: BotAPI, bot: Any, ada: User) -> None:
    """Commands for groups, for other chats and for other languages are not shown."""
    set_command(bot, "group", GROUPS)
    set_command(bot, "other", types.BotCommandScopeChat(2))
    set_command(bot, "german", PRIVATE, "de")

    assert [] == api.commands_of(ada.id)


def test_texts_have_a_language(bot: Any) -> None:
    """A language without a text of its own has the general one."""
    bot.set_my_description("makes tea")
    bot.set_my_description("macht Tee", language_code="de")
    bot.set_my_short_description("tea")

    texts = [bot.get_my_description(code).description for code in (None, "de", "fr")]

    assert ["makes tea", "macht Tee", "makes tea"] == texts
    assert "tea" == bot.get_my_short_description().short_description


def test_an_empty_text_removes_that_of_a_language(bot: Any) -> None:
    """After it the language has the general text again."""
    bot.set_my_description("makes tea")
    bot.set_my_description("macht Tee", language_code="de")
    bot.set_my_description("", language_code="de")

    assert "makes tea" == bot.get_my_description("de").description


def test_a_bot_has_a_name(bot: Any) -> None:
    """The name that the bot sets is its `first_name` too."""
    former = bot.get_my_name().name
    bot.set_my_name("Tea bot")

    assert ("Test Bot", "Tea bot") == (former, bot.get_my_name().name)
    assert "Tea bot" == bot.get_me().first_name


def test_a_chat_has_a_menu_button(bot: Any) -> None:
    """The menu button of a chat differs from that of the bot, which others see."""
    bot.set_chat_menu_button(1, types.MenuButtonCommands())

    buttons = [type(bot.get_chat_menu_button(chat)) for chat in (1, 2, None)]

    assert [types.MenuButtonCommands, types.MenuButtonDefault, types.MenuButtonDefault] == buttons


def test_a_bot_asks_for_rights(bot: Any) -> None:
    """The default rights for channels differ from those for groups."""
    rights = types.ChatAdministratorRights(*[False] * 7, True, can_post_messages=True)
    bot.set_my_default_administrator_rights(rights, for_channels=True)

    channels = bot.get_my_default_administrator_rights(for_channels=True)
    groups = bot.get_my_default_administrator_rights()

    assert (True, True) == (channels.can_invite_users, channels.can_post_messages)
    assert (False, None) == (groups.can_invite_users, groups.can_post_messages)


def test_a_bot_has_a_photo(bot: Any) -> None:
    """The photo that the bot sets is the first of its profile, and can be downloaded."""
    bot.set_my_profile_photo(photo())

    photos = bot.get_user_profile_photos(bot.get_me().id)

    content = bot.download_file(bot.get_file(photos.photos[0][-1].file_id).file_path)
    assert (1, b"photo") == (photos.total_count, content)


def test_a_user_has_no_photo(bot: Any, ada: User) -> None:
    """The profile of a user has neither photos nor music, and no personal chat."""
    counts = bot.get_user_profile_photos(ada.id), bot.get_user_profile_audios(ada.id)

    assert [0, 0] == [one.total_count for one in counts]
    assert [] == bot.get_user_personal_chat_messages(ada.id, 5)


def test_photos_come_in_pages(bot: Any) -> None:
    """The bot reads some of the photos, the latest first, with the number of all."""
    for _ in range(3):
        bot.set_my_profile_photo(photo())
    every = bot.get_user_profile_photos(bot.get_me().id)
    page = bot.get_user_profile_photos(bot.get_me().id, offset=1, limit=1)

    ids = [photo[-1].file_id for photo in every.photos]
    assert (3, ids[1:2]) == (page.total_count, [photo[-1].file_id for photo in page.photos])


def test_a_user_has_an_emoji_status(bot: Any, ada: User) -> None:
    """The chat of the user shows the emoji that the bot sets, until it is removed."""
    bot.set_user_emoji_status(ada.id, "5368324170671202286", 1767225600)
    chats = [bot.get_chat(ada.id)]
    bot.set_user_emoji_status(ada.id)
    chats.append(bot.get_chat(ada.id))

    assert [("5368324170671202286", 1767225600), (None, None)] == [
        (one.emoji_status_custom_emoji_id, one.emoji_status_expiration_date) for one in chats
    ]

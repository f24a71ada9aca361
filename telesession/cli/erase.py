"""The command `erase`: deletes all records of one person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telesession.cli.edits import delete_all
from telesession.cli.options import prefixes, wait, with_storage, yes
from telesession.cli.output import confirm, counted, tell, tracked
from telesession.cli.person import Person

if TYPE_CHECKING:
    from telesession.cli.address import Opened


@click.command()
@click.option("--user", "user_id", type=int, required=True, metavar="ID", help="The id of a user.")
@prefixes
@wait
@yes
@with_storage
def erase(
    storage: Opened, user_id: int, prefixes: tuple[str, ...], wait: float, is_agreed: bool
) -> None:
    """
    Delete all records of one user.

    These are the sessions, states, questions and waiting updates that name the user as sender or
    private chat.
    """
    person = Person(user_id, prefixes)
    keys = list(tracked(person.keys(storage), "search"))
    tell_unknown(person)
    if not keys:
        tell(f"there is no record of user {user_id}")
        return
    confirm(f"Delete {counted(len(keys), 'record')} of user {user_id}?", is_agreed=is_agreed)
    delete_all(storage, keys, wait)


def tell_unknown(person: Person) -> None:
    """Print the number of records that do not name their users."""
    if person.unknown:
        tell(
            f"{counted(person.unknown, 'record')} cannot be assigned to a user, because a key "
            "function or a prefix of the bot makes the key; name the prefix with --prefix, or look "
            "at the output of `telesession keys`"
        )

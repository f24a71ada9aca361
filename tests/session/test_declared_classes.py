"""Sessions that declare unrelated dataclasses for the same records are refused."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from typing import Any

import pytest

from telesession import MemoryStorage, Sessions, sessions as sessions_module, with_session


@dataclass
class Cart:
    """A session with products."""

    note: str = ""


@dataclass
class GiftCart(Cart):
    """A related session."""

    wrapped: bool = False


@dataclass
class Profile:
    """An unrelated session."""

    note: str = ""


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> MemoryStorage:
    """A new storage in the place of the one that all sessions share which name none."""
    storage = MemoryStorage()
    monkeypatch.setattr(sessions_module, "default_storage", storage)
    return storage


def declared_elsewhere(name: str, module: str, qualified_name: str) -> Any:
    """A dataclass of another module or function."""
    return dataclass(type(name, (), {"__module__": module, "__qualname__": qualified_name}))


# Of one storage


def test_unrelated_dataclasses_are_refused(storage: MemoryStorage) -> None:
    """A second dataclass for the same records is a `ValueError` that names both and the remedy."""
    Sessions(initial=Cart, storage=storage)
    with pytest.raises(ValueError, match=r"\.Profile and of .*\.Cart .*name= or prefix="):
        Sessions(initial=Profile, storage=storage)


def test_the_decorator_refuses_them_too(storage: MemoryStorage) -> None:
    """`with_session` is the same, before it has a handler."""
    with_session(initial=Cart, storage=storage)
    with pytest.raises(ValueError, match="name= or prefix="):
        with_session(initial=Profile, storage=storage)


@pytest.mark.parametrize("options", [{"name": "profile"}, {"prefix": "profile:"}], ids=str)
def test_a_name_or_a_prefix_of_its_own_is_enough(
    storage: MemoryStorage, options: dict[str, str]
) -> None:
    """Sessions with other records may be of any class."""
    carts = Sessions(initial=Cart, storage=storage, name="cart")
    profiles: Sessions[Profile] = Sessions(initial=Profile, storage=storage, **options)
    with carts.open(1) as cart, profiles.open(1) as profile:
        cart.note, profile.note = "two teas", "likes tea"
    with carts.open(1) as cart, profiles.open(1) as profile:
        assert ("two teas", "likes tea") == (cart.note, profile.note)


def test_one_prefix_under_two_names_is_refused(storage: MemoryStorage) -> None:
    """The records count, and not the names of the parameters."""
    Sessions(initial=Cart, storage=storage, name="cart", prefix="shop:")
    with pytest.raises(ValueError, match="name= or prefix="):
        Sessions(initial=Profile, storage=storage, name="profile", prefix="shop:")


@pytest.mark.parametrize(
    ("one", "other"),
    [(Cart, Cart), (Cart, GiftCart), (GiftCart, Cart), (Cart, dict), (dict, Cart)],
    ids=lambda initial: initial.__name__,
)
def test_views_of_one_record_are_allowed(storage: MemoryStorage, one: Any, other: Any) -> None:
    """A class with itself, with its subclass, and with a mapping may share records."""
    views = [Sessions(initial=initial, storage=storage) for initial in (one, other)]
    with views[0].open(1) as session:
        session.note = "tea"
    with views[1].open(1) as session:
        assert "tea" == session.note


def test_each_pair_must_be_related(storage: MemoryStorage) -> None:
    """A class that is related to one declared class and not to another is refused."""

    @dataclass
    class OtherCart(Cart):
        pass

    for cls in (GiftCart, Cart):
        Sessions(initial=cls, storage=storage)
    with pytest.raises(ValueError, match=r"OtherCart and of .*GiftCart"):
        Sessions(initial=OtherCart, storage=storage)


def test_a_class_declared_anew_takes_the_place_of_the_first(storage: MemoryStorage) -> None:
    """After a reload, a class of the same module and name is the same for its records."""
    for _ in range(2):
        again = declared_elsewhere("Basket", "shop", "Basket")
        Sessions(initial=again, storage=storage)
    with pytest.raises(ValueError, match=r"shop\.Basket"):
        Sessions(initial=Profile, storage=storage)


# A class that only a call of initial tells


def test_a_class_that_a_call_tells_is_refused_then(storage: MemoryStorage) -> None:
    """If `initial` does not say what it returns, its first new session is the `ValueError`."""
    Sessions(initial=Cart, storage=storage)
    profiles = Sessions(initial=lambda: Profile(), storage=storage)  # noqa: PLW0108
    for _ in range(2):
        with pytest.raises(ValueError, match="name= or prefix="):
            profiles.open(1).__enter__()
    assert [] == list(profiles.keys())


def test_a_class_that_a_call_told_counts(storage: MemoryStorage) -> None:
    """Such a class is declared from its first new session on."""
    carts = Sessions(initial=lambda: Cart(), storage=storage)  # noqa: PLW0108
    with carts.open(1):
        pass
    with pytest.raises(ValueError, match="name= or prefix="):
        Sessions(initial=Profile, storage=storage)


# Other storages, and the one that all sessions share


def test_other_storages_are_of_no_concern() -> None:
    """Sessions of two storages never share records."""
    one, other = MemoryStorage(), MemoryStorage()
    sessions = [Sessions(initial=Cart, storage=one), Sessions(initial=Profile, storage=other)]
    assert 2 == len(sessions)


def test_a_declaration_ends_with_its_storage() -> None:
    """Neither a storage nor a dataclass is kept because it was declared."""

    @dataclass
    class Local:
        note: str = ""

    storage = MemoryStorage()
    Sessions(initial=Local, storage=storage)
    references = [weakref.ref(storage), weakref.ref(Local)]
    del storage, Local
    gc.collect()
    assert [None, None] == [reference() for reference in references]


def test_the_shared_storage_refuses_classes_of_one_module(shared: MemoryStorage) -> None:
    """Sessions that name no storage are checked too, if their classes stand in one module."""
    Sessions(initial=Cart)
    with pytest.raises(ValueError, match="name= or prefix="):
        Sessions(initial=Profile)


def test_the_shared_storage_refuses_classes_of_one_function(shared: MemoryStorage) -> None:
    """So it is if both classes stand in one function."""

    @dataclass
    class One:
        note: str = ""

    @dataclass
    class Other:
        note: str = ""

    Sessions(initial=One)
    with pytest.raises(ValueError, match="name= or prefix="):
        Sessions(initial=Other)


@pytest.mark.parametrize(
    ("module", "qualified_name"),
    [
        pytest.param("another_bot", "Profile", id="another module"),
        pytest.param(__name__, "test_a.<locals>.Profile", id="another function"),
        pytest.param(__name__, "Cart", id="a reload"),
    ],
)
def test_the_shared_storage_allows_classes_of_other_places(
    shared: MemoryStorage, module: str, qualified_name: str
) -> None:
    """Classes of two modules or test functions of one process may follow each other."""
    again = declared_elsewhere("Profile", module, qualified_name)
    sessions = [Sessions(initial=Cart), Sessions(initial=again)]
    assert 2 == len(sessions)

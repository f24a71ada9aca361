"""What telesession offers, what it imports to do so, and what stays private."""

from __future__ import annotations

import ast
import configparser
import dataclasses
import enum
import importlib
import inspect
import json
import logging
import pathlib
import re
import subprocess
import sys
import threading
import types
import typing
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import telesession

PACKAGE = Path(telesession.__file__).parent

# The table of public names, and those for the whole bot.
PROMISED = {
    "DeadlockError", "DecodeError", "EncodeError", "EncryptedCodec", "JSONCodec", "LockLostError",
    "LockTimeoutError", "MemoryStorage", "NoSessionKeyError", "PickleCodec", "PostgresStorage",
    "RedisStorage", "SQLiteStorage", "Session", "SessionClosedError", "SessionError", "Sessions",
    "Storage", "StorageError", "UnitEvent", "as_dict",
    "by_chat", "by_sender", "by_sender_in_chat", "by_sender_in_topic", "by_topic", "forget",
    "make_key", "on_commit", "parse_key", "save",
    "receive", "session_key", "set_lifetime", "ttl", "ttl_left", "with_session",
    "Place", "SessionStateStorage", "ask", "cancel", "copy_sessions",
    "import_telebot_pickle", "import_telebot_redis", "session_filter", "use_questions",
    "use_sequential_workers",
}  # fmt: skip

# The globals that change, by module. All but the first are tables of which a process has one. The
# kernel has the locks of a process by file, and SQLite those of a file by process.
MUTABLE = {
    "sessions": {"default_storage": "MemoryStorage"},
    "kinds.declared": {"_declared": "WeakKeyDictionary", "_mutex": "lock"},
    "storage.file_locks": {"_open_files": "PerProcess", "_made": "WeakValueDictionary"},
    "storage.sqlite_connections": {
        "_mutexes": "PerProcess",
        "_connections": "WeakValueDictionary",
    },
    "locks": {"_waits": "PerProcess", "units": "dict"},
    "moves": {"_moves": "WeakKeyDictionary", "_mutex": "lock"},
    "unit.endings": {"expected": "dict"},
    "handlers": {"expected": "dict"},
    "unit.unit": {"_token": "ContextVar", "_units": "dict", "units": "dict"},
    "bot.turns": {"_turns": "dict"},
}
STORAGES_IMPORT = {"errors", "forks", "locks"}
IMPORT_STORAGES = {
    "sessions", "__init__", "cli.address", "cli.postgres_checks", "cli.server_checks",
}  # fmt: skip
OPTIONAL = {
    "telebot", "requests", "redis", "psycopg", "psycopg_pool", "cryptography", "cachetools",
    "freezegun", "pytest", "click", "rich",
}  # fmt: skip
THIRD_PARTY = {
    "typed.constraints": {"msgspec"},
    "typed.containers": {"msgspec"},
    "typed.hints": {"msgspec"},
    "typed.other_layouts": {"msgspec"},
    "codecs.encrypted": {"cryptography"},
    "codecs.memory": {"msgspec"},
    "codecs.text": {"msgspec"},
    "storage.postgres": {"psycopg", "psycopg_pool"},
    "storage.postgres_connections": {"psycopg", "psycopg_pool"},
    **{
        f"storage.postgres_{name}": {"psycopg"}
        for name in (
            "commit", "errors", "hold", "link", "server", "statements", "table", "transaction",
        )
    },
    "storage.redis": {"redis"},
    "storage.redis_client": {"redis"},
    "storage.redis_connections": {"redis"},
    "storage.redis_server": {"redis"},
    "bot.answers": {"telebot"},
    "bot.arrivals": {"telebot"},
    "bot.raw_updates": {"telebot"},
    "bot.stored_turns": {"telebot"},
    "bot.filters": {"telebot"},
    "bot.place": {"telebot"},
    "bot.plain_pickle": {"telebot"},
    "bot.questions": {"telebot"},
    "bot.states": {"telebot"},
    "bot.workers": {"telebot"},
    "cli.output": {"click", "rich"},
    **{
        f"cli.{name}": {"click"}
        for name in (
            "address", "codec", "copies", "copying", "doctor", "edits", "erase", "export",
            "importing",
            "options", "program", "rehearsal", "show", "stats", "upkeep", "watch",
        )
    },
}  # fmt: skip
LOADED_WHEN_USED = {
    "Place", "PostgresStorage", "RedisStorage", "SessionStateStorage", "ask", "cancel",
    "copy_sessions", "import_telebot_pickle", "import_telebot_redis", "receive", "session_filter",
    "use_questions", "use_sequential_workers",
}  # fmt: skip
ONLY_FOR_TYPES = {"_typeshed"}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__")


SOURCES = {
    module_name(path): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "testing" not in path.relative_to(PACKAGE).parts
}


TESTING = {module_name(path): path for path in sorted((PACKAGE / "testing").rglob("*.py"))}
# The packages of `testing`, each of which imports itself and those before it.
TESTING_LAYERS = ["server", "telegram", "people"]


def module(name: str) -> types.ModuleType:
    return importlib.import_module("telesession" if name == "__init__" else f"telesession.{name}")


def imported_by(path: Path) -> set[str]:
    """The absolute names of the modules that a source file imports, wherever it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            found.update(_from(node.module or "", alias.name) for alias in node.names)
    return found


def _from(module: str, name: str) -> str:
    """The module that a `from` imports a name from; the name may be a module of a package."""
    below = PACKAGE.parent.joinpath(*module.split("."), f"{name}.py")
    return f"{module}.{name}" if below.exists() else module


def own_imports(path: Path) -> set[str]:
    names = {name for name in imported_by(path) if name.split(".")[0] == "telesession"}
    return {name.partition(".")[2] or "__init__" for name in names}


def foreign_imports(path: Path) -> set[str]:
    tops = {name.split(".")[0] for name in imported_by(path)}
    return tops - sys.stdlib_module_names - ONLY_FOR_TYPES - {"telesession"}


def test_all_is_what_the_package_has() -> None:
    """The names in `__all__` are those that are there, no fewer and no more."""
    there = {
        name
        for name, value in vars(telesession).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert there | LOADED_WHEN_USED == set(telesession.__all__)


def test_all_has_every_promised_name() -> None:
    """Every public name of the design is in `__all__`."""
    assert PROMISED == set(telesession.__all__)


def test_all_is_sorted_and_has_no_name_twice() -> None:
    """`__all__` lists each name once, in order."""
    assert sorted(set(telesession.__all__)) == telesession.__all__


def test_a_star_import_brings_the_public_names() -> None:
    """`from telesession import *` gives exactly what `__all__` says."""
    namespace: dict[str, Any] = {}
    exec("from telesession import *", namespace)

    assert set(telesession.__all__) == set(namespace) - {"__builtins__"}


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_a_public_name_is_documented(name: str) -> None:
    """A public name has a docstring of its own, and so has each of its public methods."""
    public = getattr(telesession, name)
    members = vars(public) if inspect.isclass(public) else {}
    undocumented = [
        f"{name}.{member}"
        for member, value in members.items()
        if not member.startswith("_")
        and (inspect.isroutine(value) or isinstance(value, property))
        and not inspect.ismethoddescriptor(value)
        and not value.__doc__
    ]

    assert public.__doc__
    assert [] == undocumented


@pytest.mark.parametrize("name", list(SOURCES))
def test_a_module_is_documented(name: str) -> None:
    """Each module says what it is for."""
    assert (module(name).__doc__ or "").strip()


def test_sessions_work_without_telebot_and_redis() -> None:
    """In a fresh process sessions work, and nothing optional is loaded."""
    program = f"""
import json, sys
from telesession import {", ".join(set(telesession.__all__) - LOADED_WHEN_USED)}

@with_session
def handler(message, session):
    session.update(code=ttl("1234", 300), counter=1)

handler(type("Message", (), {{"from_user": type("User", (), {{"id": 1}})}}))
tops = {{name.partition(".")[0] for name in sys.modules}}
print(json.dumps([Sessions().peek(1), sorted(tops & set({sorted(OPTIONAL)}))]))
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True
    )

    assert [{"code": "1234", "counter": 1}, []] == json.loads(ran.stdout)
    assert "" == ran.stderr


def is_storage(name: str) -> bool:
    return name.partition(".")[0] == "storage"


def in_circles(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """The modules whose imports lead back to them, and those that import such ones."""
    # Modules whose imports are all known leave, until none does.
    while free := {name for name, found in imports.items() if not found & set(imports)}:
        imports = {name: found for name, found in imports.items() if name not in free}
    return imports


def test_imports_go_one_way() -> None:
    """No way of imports leads back to its start, those for annotations included."""
    assert {} == in_circles(
        {name: own_imports(path) for name, path in {**SOURCES, **TESTING}.items()}
    )


def test_a_circle_of_imports_is_found() -> None:
    """Two modules that import each other are found, and so is a third that imports them."""
    imports = {
        "one": {"two"},
        "two": {"one"},
        "three": {"two"},
        "four": {"errors"},
        "errors": set(),
    }

    assert {"one", "two", "three"} == set(in_circles(imports))


# The accesses to a private attribute of another object, each with the reason.
PRIVATE_ACCESSES = {
    "session: session._state": "each update passes there, and a setter would cost it a call",
    "sessions: sessions._kind": "`kind_of` is the only way from `Sessions` to their kind",
    "storage.postgres_connections: pool._check": "psycopg_pool 3.3 has no public attribute",
    "storage.postgres_connections: pool._configure": "psycopg_pool 3.3 has no public attribute",
    "storage.postgres_connections: pool._reset": "psycopg_pool 3.3 has no public attribute",
}
# Public names that begin with an underscore: those of named tuples, enums and `sys`.
UNDERSCORED = {
    "_asdict", "_field_defaults", "_fields", "_getframe", "_make", "_name_", "_replace", "_value_",
}  # fmt: skip


class PrivateAccesses(ast.NodeVisitor):
    """
    The accesses in a source to private attributes of other objects, as their expressions.

    An object of the same class is no other object. It is `self`, `cls`, `super()`, the class by its
    name, a call of the class, or a variable that is annotated with the class or made by it.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        self._class_name = ""
        self._of_the_class = {"self", "cls"}

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        around = self._class_name, self._of_the_class
        self._class_name, self._of_the_class = node.name, {"self", "cls", node.name}
        self.generic_visit(node)
        self._class_name, self._of_the_class = around

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        around = self._of_the_class
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self._of_the_class = around | {
            each.arg for each in arguments if self._is_the_class(each.annotation)
        }
        self.generic_visit(node)
        self._of_the_class = around

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name) and self._is_the_class(node.annotation):
            self._of_the_class.add(node.target.id)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name) and self._makes_one(node.value):
                self._of_the_class.add(target.id)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        is_private = re.match("_[^_]", node.attr) and node.attr not in UNDERSCORED
        value = node.value
        is_own = isinstance(value, ast.Name) and value.id in self._of_the_class
        if is_private and not is_own and not self._makes_one(value):
            self.found.append(ast.unparse(node))
        self.generic_visit(node)

    def _is_the_class(self, annotation: ast.expr | None) -> bool:
        if annotation is None or not self._class_name:
            return False
        return ast.unparse(annotation).removesuffix(" | None") in ("Self", self._class_name)

    def _makes_one(self, value: ast.expr) -> bool:
        """Whether an expression calls the class, or `super`."""
        return (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Name)
            and value.func.id in ("cls", "super", self._class_name)
        )


def private_accesses(source: str) -> list[str]:
    visitor = PrivateAccesses()
    visitor.visit(ast.parse(source))
    return visitor.found


def test_private_attributes_are_those_of_their_class() -> None:
    """Only the listed accesses reach a private attribute of an object of another class."""
    found = [
        f"{name}: {access}"
        for name, path in {**SOURCES, **TESTING}.items()
        for access in private_accesses(path.read_text(encoding="utf-8"))
    ]

    assert sorted(PRIVATE_ACCESSES) == sorted(found)


@pytest.mark.parametrize(
    "line",
    [
        "def read(other): other._value",
        "class Reader:\n def read(self, other: Box): other._value",
        "class Reader:\n def read(self): self.box._value",
        "class Reader:\n def read(self): self._box._value",
        "class Reader:\n def read(self): made = Box(); made._value = 1",
        "class Reader:\n def read(self, one: Reader): pass\n def peek(self, one): one._value",
    ],
)
def test_a_private_access_is_found(line: str) -> None:
    """The control: an access to a private attribute of another object is found."""
    assert 1 == len(private_accesses(line))


@pytest.mark.parametrize(
    "line",
    [
        "class Box:\n def __eq__(self, other: Self): return self._value == other._value",
        "class Box:\n def copy(self): made = Box(); made._value = self._value",
        "class Box:\n @classmethod\n def make(cls): return cls()._value",
        "class Box:\n def find(self): found: Box | None = None; return found._value",
        "class Box:\n def read(self): return super()._value",
        "class Box:\n def change(self, row): return row._replace(value=1)",
    ],
)
def test_an_object_of_the_same_class_is_not_found(line: str) -> None:
    """A class may use the private attributes of all its objects."""
    assert [] == private_accesses(line)


# The modules that import no other module of the package.
LOWEST = {"errors", "forks", "ttl"}


@pytest.mark.parametrize("name", sorted(LOWEST))
def test_the_lowest_modules_import_none(name: str) -> None:
    """errors <- keys, session, codecs, locks: the lowest modules import no other."""
    assert set() == own_imports(SOURCES[name])


@pytest.mark.parametrize("name", [name for name in SOURCES if is_storage(name)])
def test_storages_import_errors_locks_and_codecs(name: str) -> None:
    """Storages know errors, locks, forks, codecs and each other, and nothing of fields."""
    others = {found for found in own_imports(SOURCES[name]) if not is_storage(found)}
    others -= {found for found in others if found.split(".")[0] == "codecs"}

    assert set() == others - STORAGES_IMPORT


@pytest.mark.parametrize("name", [name for name in TESTING if "." in name])
def test_testing_tools_import_one_way(name: str) -> None:
    """The server knows no Telegram, Telegram no people, and none of them the rest."""
    package = name.split(".")[1]
    if package in TESTING_LAYERS:
        below = TESTING_LAYERS[: TESTING_LAYERS.index(package) + 1]
        found = {found for found in own_imports(TESTING[name]) if found in TESTING}
        assert set() == {one for one in found if one.split(".")[1] not in below}


@pytest.mark.parametrize("name", [name for name in SOURCES if not is_storage(name)])
def test_nobody_imports_a_storage(name: str) -> None:
    """Nobody imports a storage but the package itself, and `sessions` for its default one."""
    storages = {found for found in own_imports(SOURCES[name]) if is_storage(found)}
    # The base class of storages, the renewal of leases, and the rows of storages.
    storages -= {"storage.base", "storage.renewal", "storage.rows"}

    assert (storages != set()) == (name in IMPORT_STORAGES)


@pytest.mark.parametrize("name", list(SOURCES))
def test_other_packages_are_imported_where_they_belong(name: str) -> None:
    """Only `bot` and `testing` import telebot, and each dependency has one place."""
    assert set() == foreign_imports(SOURCES[name]) - THIRD_PARTY.get(name, set())


def test_the_library_does_not_import_its_testing_tools() -> None:
    """Nothing but tests imports `telesession.testing`."""
    importers = {
        name
        for name, path in SOURCES.items()
        if any(found.startswith("testing") for found in own_imports(path))
    }

    assert set() == importers


def test_types_are_shipped() -> None:
    """`py.typed` lies in the package and is packed with it."""
    setup = configparser.ConfigParser()
    setup.read(pathlib.Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")

    assert files("telesession").joinpath("py.typed").is_file()
    assert "py.typed" in setup["options.package_data"]["telesession"].split()


IMMUTABLE = (
    bool, bytes, enum.Enum, float, frozenset, int, str, tuple, type, type(None), types.ModuleType,
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType,
    types.WrapperDescriptorType, types.MethodDescriptorType, types.GenericAlias,
    types.UnionType, logging.Logger,
    pathlib.PurePath, re.Pattern, typing.TypeVar, typing.ParamSpec,
)  # fmt: skip


def is_constant(value: object) -> bool:
    """Whether a global is nothing that a program changes while it runs."""
    if isinstance(value, tuple | frozenset):
        return all(map(is_constant, value))
    if isinstance(value, types.MappingProxyType):
        return all(map(is_constant, value.values()))
    if isinstance(value, types.FunctionType):
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return all(map(is_constant, defaults))
    if dataclasses.is_dataclass(type(value)) and type(value).__dataclass_params__.frozen:
        return all(map(is_constant, vars(value).values()))
    if isinstance(value, IMMUTABLE):
        return True
    # Such as annotations.division, a special form of typing, or a function with a cache of its own.
    of_typing = type(value).__module__ in ("typing", "__future__")
    of_others = callable(value) and not value.__module__.startswith("telesession")
    return type(value) is object or of_typing or of_others


@pytest.mark.parametrize("name", list(SOURCES))
def test_no_module_has_mutable_state(name: str) -> None:
    """No global of a module can be changed, except the default storage and tables of a process."""
    mutable = {
        variable: type(value).__name__
        for variable, value in vars(module(name)).items()
        if not (variable.startswith("__") and variable.endswith("__")) and not is_constant(value)
    }

    assert MUTABLE.get(name, {}) == mutable


@pytest.mark.parametrize("name", list(SOURCES))
def test_no_class_has_mutable_state(name: str) -> None:
    """No class of a module keeps data that its instances would share."""
    owned = [
        value
        for value in vars(module(name)).values()
        if isinstance(value, type)
        and value.__module__ == module(name).__name__
        # An enum has tables of its members, which do not change.
        and not issubclass(value, enum.Enum)
    ]
    mutable = {
        f"{cls.__name__}.{attribute}"
        for cls in owned
        for attribute, value in vars(cls).items()
        if isinstance(value, dict | list | set | bytearray | threading.local)
        and not attribute.startswith("__")
        and attribute not in vars(NamedTuple("Empty", []))
    }

    assert set() == mutable


@pytest.mark.parametrize(
    "value",
    [[], {}, set(), bytearray(), ([],), threading.Lock(), threading.local()],
    ids=lambda value: type(value).__name__,
)
def test_mutable_state_would_be_noticed(value: object) -> None:
    """The control: what a module must not have is told from constants."""
    assert not is_constant(value)


def test_sessions_without_a_storage_share_the_default_one() -> None:
    """The default storage is one for the process, so that all handlers see the same sessions."""
    one, other = telesession.Sessions(prefix="shared:"), telesession.Sessions(prefix="shared:")
    try:
        with one.open(1) as session:
            session.counter = 1
        assert {"counter": 1} == other.peek(1)
    finally:
        one.delete(1)

"""The failures of a Redis or Valkey server: reasons, remedies, and when to ask again."""

from __future__ import annotations

import re
from types import MappingProxyType

# The first sign that an error shows decides. A sign is a code of the server, the name of a class
# of redis-py, or, if it has a space, a phrase of the server. Codes that only commands give which
# are not used here have no row: BUSYGROUP, BUSYKEY, EXECABORT, INPROG, INVALIDOBJ, IOERR, NOADDR,
# NOGOODSLAVE, NOGROUP, NOMASTERLINK, NOQUORUM, NOTBUSY, STALE, UNKILLABLE.
DIAGNOSES = MappingProxyType(
    {
        "OOM": ("the server is out of memory", "raise its maxmemory"),
        "READONLY": (
            "the server is a replica, which may only be read",
            "connect to its primary",
        ),
        "WRONGTYPE": (
            "the server has something else by this name",
            "give the storage another prefix",
        ),
        "NOPERM": (
            "the server forbids this user a command or a key",
            "see __cause__ and grant it with ACL SETUSER",
        ),
        "LOADING": (
            "the server has just started and is loading its data",
            "retry when it has finished",
        ),
        "MASTERDOWN": (
            "the server is a replica that has lost its primary",
            "see why INFO replication says master_link_status:down",
        ),
        "MISCONF": (
            "the server cannot save its data to its disk, and therefore takes no writes",
            "see its log and free its disk",
        ),
        "NOREPLICAS": (
            "the server has fewer replicas than its min-replicas-to-write asks for",
            "see why INFO replication lists too few",
        ),
        "BUSY": (
            "another script keeps the server busy",
            "end that script with SCRIPT KILL",
        ),
        "CROSSSLOT": (
            "a proxy in front of the server spreads the keys of one session",
            "connect to the server itself",
        ),
        "TRYAGAIN": (
            "the cluster is moving this session to another node",
            "retry when it has finished",
        ),
        "UNBLOCKED": ("the server has ended the wait for this session", "retry"),
        "NOAUTH": ("the server asks for a password", "add the password to the URL or the client"),
        "without any password configured": (
            "the server has no password, but one was sent",
            "leave it out of the URL or the client",
        ),
        "WRONGPASS": (
            "the server does not accept the user or the password",
            "correct them in the URL or the client",
        ),
        "DENIED": (
            "the server is in protected mode, in which it takes local connections only",
            "give its default user a password",
        ),
        "NOPROTO": (
            "the server does not know this version of the protocol",
            "pass protocol=2 in the URL or to the client",
        ),
        "index is out of range": (
            "the server has no database of this number",
            "choose a number below its setting databases",
        ),
        "not allowed in cluster mode": (
            "the server is part of a cluster, which has no databases but 0",
            "pass a redis.RedisCluster",
        ),
        "max number of clients": (
            "the server has as many clients as it takes",
            "raise its maxclients",
        ),
        "unknown command": (
            "the server does not know a command, or knows it by another name",
            "use Redis 6.2 or later, or Valkey, with no command renamed",
        ),
        "command called from": (
            "the server does not know a command, or knows it by another name",
            "use Redis 6.2 or later, or Valkey, with no command renamed",
        ),
        "syntax error": (
            "the server does not know an option of a command",
            "use Redis 6.2 or later, or Valkey",
        ),
        "user executing the script": (
            "the server forbids this user a command or a key",
            "see __cause__ and grant it with ACL SETUSER",
        ),
        "ACL failure": (
            "the server forbids this user a command or a key",
            "see __cause__ and grant it with ACL SETUSER",
        ),
        "[SSL": (
            "the server and the client do not agree on TLS",
            "use rediss:// for a server with TLS, with a certificate that this machine trusts",
        ),
        "MaxConnectionsError": (
            "the client has no connection left",
            "raise its max_connections",
        ),
        "MasterNotFoundError": (
            "Sentinel knows no primary for this service",
            "see whether the service has this name, and whether a failover goes on",
        ),
        "SlotNotCoveredError": (
            "no node of the cluster serves this session",
            "see CLUSTER INFO on a node",
        ),
        "InvalidResponse": (
            "the address belongs to another kind of server",
            "correct the address",
        ),
        "TimeoutError": (
            "the server did not answer in time",
            "see whether it is overloaded or the network is slow, and retry",
        ),
        "ConnectionError": (
            "the server cannot be reached",
            "see whether it runs and the address is right, and retry",
        ),
    }
)

# The codes of a cluster: the first rows for a client of a plain server, the others for a
# `RedisCluster`, which follows MOVED and ASK by itself.
PLAIN_DIAGNOSES = MappingProxyType(
    dict.fromkeys(
        ("MOVED", "ASK", "CLUSTERDOWN"),
        ("the server is part of a cluster", "pass a redis.RedisCluster"),
    )
)
CLUSTER_DIAGNOSES = MappingProxyType(
    {
        "CLUSTERDOWN": ("the cluster does not serve all its slots", "see CLUSTER INFO on a node"),
        "ClusterError": (
            "the cluster sent the client from node to node without end",
            "see CLUSTER INFO on its nodes",
        ),
        "Cluster mode is not enabled": (
            "the server is part of no cluster",
            "connect to it as a plain server",
        ),
    }
)

# The classes of redis-py for the codes that it cuts off.
_CODES = MappingProxyType(
    {
        "AskError": "ASK",
        "BusyLoadingError": "LOADING",
        "ClusterCrossSlotError": "CROSSSLOT",
        "ClusterDownError": "CLUSTERDOWN",
        "MasterDownError": "MASTERDOWN",
        "MovedError": "MOVED",
        "NoPermissionError": "NOPERM",
        "OutOfMemoryError": "OOM",
        "ReadOnlyError": "READONLY",
        "TryAgainError": "TRYAGAIN",
    }
)

# The answers of a server that changes its place or its part, or has just started.
_PASSING = frozenset(
    ("READONLY", "LOADING", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN", "UNBLOCKED", "ClusterError")
)
# Failures of a connection that another attempt would meet, too. No command was sent before them.
_USELESS = frozenset(("WRONGPASS", "NOAUTH", "MaxConnectionsError"))
# Phrases of redis-py and of the server about a connection that was never made.
_UNSENT = ("connecting to", "max number of clients", "No master found", "is loading")


def diagnosis(error: Exception, is_cluster: bool) -> tuple[str, str]:
    """
    The reason and the remedy of a failed call.

    They are not the words of the server, which may quote a stored value.
    """
    signs, text = _signs(error), str(error)
    rows = DIAGNOSES | (CLUSTER_DIAGNOSES if is_cluster else PLAIN_DIAGNOSES)
    for sign, (reason, remedy) in rows.items():
        if sign in signs or (not sign.isalnum() and sign in text):
            return f"{reason} ({type(error).__name__})", remedy
    return f"redis-py raised {type(error).__name__}", "see __cause__, fix it and retry"


def without_values(error: Exception) -> Exception:
    """The error, or one like it if the server has quoted the arguments of a command."""
    text, quoted, _ = str(error).partition(", with args beginning with")
    return type(error)(text) if quoted else error


def is_passing(error: Exception) -> bool:
    """Whether the server answered that it cannot serve the call at the moment."""
    return not _PASSING.isdisjoint(_signs(error))


def is_unanswered(error: Exception) -> bool:
    """Whether the connection failed, so that a new one may have more success."""
    signs = _signs(error)
    return not signs.isdisjoint(("ConnectionError", "TimeoutError")) and _USELESS.isdisjoint(signs)


def may_be_executed(error: Exception) -> bool:
    """Whether the call may have reached the server, whose answer did not arrive."""
    text = str(error)
    return is_unanswered(error) and not any(words in text for words in _UNSENT)


def _signs(error: Exception) -> set[str]:
    """The names of the error's classes, and the codes in its text: a script's is in the middle."""
    names, text = {kind.__name__ for kind in type(error).__mro__}, str(error)
    signs = names | set(re.findall(r"(?:^|: )-?([A-Z]+) ", text))
    # The nearest class: a MasterDownError is a ClusterDownError too.
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _CODES]
    signs.update(_CODES[name] for name in kinds[:1])
    if "AuthenticationError" in names:
        is_asked = text.startswith(("Authentication required", "HELLO must be called"))
        signs.add("NOAUTH" if is_asked else "WRONGPASS")
    return signs

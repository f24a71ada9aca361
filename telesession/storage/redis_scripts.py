"""
The Lua scripts of `RedisStorage`: each runs alone, as a whole, in one round trip.

The record of a session is one key. While the session is in use there are others beside it:

    lock     the token of the holder, or of a reservation; ends with its lease
    queue    the tokens of the waiters, by the time at which each will have asked again
    calls    a call for the longest listener, answered by taking over the reservation
    done     by owner, the number of its last write; ends half a minute after the last one

An owner is a storage in one process, with a random name. A token is `owner.number.lease`. The
numbers of an owner only rise, so the server can tell an old lock of the same owner, which an
outage left behind, from a newer one. A reservation is `~` before the token of the last holder.

Times are in milliseconds.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Script:
    """
    A Lua script, known to servers by its digest.

    Keep one for as long as the program runs; any thread may use it.
    """

    text: str

    @cached_property
    def digest(self) -> str:
        """The name of the script for EVALSHA."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


# Milliseconds for which a reservation lasts, and for which a `done` is kept.
RESERVATION = 1000
KEPT = 30_000


def milliseconds(seconds: float) -> int:
    """The milliseconds for scripts and commands: rounded up, and within their range."""
    return math.ceil(min(seconds * 1000, 2**53))


# Takes the lock and reads the record. If the session is busy, joins the queue instead, for a
# caller with any patience, and gives the milliseconds to wait for a call, the holder, and the end
# of its lease. A claim is a lock that may be taken over. So may an older lock of the same owner:
# in its process one thread at a time gets here for one session. So may a reservation if no waiter
# was there to hear the call. The record is read before the lock is taken, so that another kind of
# key is not locked either.
ACQUIRE = Script("""
local record, lock, queue, calls = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, claim, lease, patience = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local payload, now = redis.call('GET', record), redis.call('TIME')
if not redis.call('SET', lock, token, 'NX', 'PX', lease) then
    local holder = redis.call('GET', lock)
    local owner, number = string.match(holder, '^(%x+)%.(%d+)%.')
    local asker, limit = string.match(token, '^(%x+)%.(%d+)%.')
    local is_own = owner == asker and tonumber(number) <= tonumber(limit)
    local unheard = string.sub(holder, 1, 1) == '~' and redis.call('DEL', calls) == 1
    if holder ~= claim and not is_own and not unheard then
        local left = redis.call('PTTL', lock)
        local time = now[1] * 1000 + math.floor(now[2] / 1000)
        local over = left < 0 and left or time + left
        if patience == 0 then return {0, 0, holder, over} end
        local wait = left < 0 and patience or math.min(left + 1, patience)
        redis.call('ZADD', queue, time + wait + 500, token)
        redis.call('PEXPIRE', queue, 60000)
        return {0, wait, holder, over}
    end
    redis.call('SET', lock, token, 'PX', lease)
end
redis.call('ZREM', queue, token)
return {1, payload, redis.call('PTTL', record), now[1], now[2]}
""")

# Does the noted write of the holder once, however often it is sent; then either renews the lease
# or unlocks. The first commit of a hold that also unlocks cannot have been done while the lock is
# there, so it need not read `done`. If a waiter is in the queue, the lock is reserved and the
# longest listener is called. Gives 0 if the lock was lost. Only the write of the record may fail
# for want of memory: it is the first change.
COMMIT = Script(
    """
local record, lock, queue, calls, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token, owner, number, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local is_first, unlock = ARGV[5], ARGV[6]
local action, lifetime, payload = ARGV[7], ARGV[8], ARGV[9]
local mine = redis.call('GET', lock) == token
local is_news = mine and is_first ~= '' and unlock ~= ''
if not is_news and tonumber(redis.call('HGET', done, owner) or 0) >= number then return 1 end
if not mine then return 0 end
if action == 'delete' then redis.call('DEL', record)
elseif action == 'set' and lifetime == '' then redis.call('SET', record, payload)
elseif action == 'set' then redis.call('SET', record, payload, 'PX', lifetime)
elseif action == 'touch' and lifetime == '' then redis.call('PERSIST', record)
elseif action == 'touch' then redis.call('PEXPIRE', record, lifetime)
end
if action ~= '' then
    if redis.pcall('HSET', done, owner, number) == 1 and redis.call('HLEN', done) > 100 then
        redis.call('HDEL', done, redis.call('HKEYS', done)[1])
    end
    redis.call('PEXPIRE', done, KEPT)
end
if unlock == '' then
    redis.call('PEXPIRE', lock, lease)
    return 1
end
redis.call('DEL', lock)
if redis.call('EXISTS', queue) == 0 then return 1 end
local now = redis.call('TIME')
if redis.call('ZCOUNT', queue, now[1] * 1000 + math.floor(now[2] / 1000), '+inf') > 0 then
    local reserve = math.min(lease, RESERVATION)
    redis.call('SET', lock, '~' .. token, 'PX', reserve)
    redis.call('RPUSH', calls, '~' .. token)
    redis.call('PEXPIRE', calls, reserve)
end
return 1
""".replace("KEPT", f"{KEPT}").replace("RESERVATION", f"{RESERVATION}")
)

# Renews the leases of those locks whose holders still have them.
RENEW = Script("""
for i, lock in ipairs(KEYS) do
    if redis.call('GET', lock) == ARGV[i + 1] then redis.call('PEXPIRE', lock, ARGV[1]) end
end
""")

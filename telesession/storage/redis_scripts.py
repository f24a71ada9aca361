"""
What `RedisStorage` has its server do, in Lua: a script runs alone, as a whole, in one round trip.

The record of a session is one key. While somebody uses the session there are others beside it:

    lock     the token of the holder, or of a reservation; ends with its lease
    queue    the tokens of those who wait, by the time at which they will have looked again
    calls    a call for the one who has listened longest, answered by taking over the reservation
    done     of one token: the number of its last commit, kept for a minute

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
        """What EVALSHA calls it by."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def milliseconds(seconds: float) -> int:
    """As scripts and commands want it: not less than was asked for, and within their range."""
    return math.ceil(min(seconds * 1000, 2**53))


# Takes the lock and reads the record, or joins the queue and says how long to wait for a call, for
# who has any patience. A claim is the token of a lock that may be taken over. So may a reservation
# be if nobody was there to hear the call. The record is read before the lock is taken, so that
# what is no record is not locked either.
ACQUIRE = Script("""
local record, lock, queue, calls = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, claim, lease, patience = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local payload, now = redis.call('GET', record), redis.call('TIME')
if not redis.call('SET', lock, token, 'NX', 'PX', lease) then
    local holder = redis.call('GET', lock)
    local unheard = string.sub(holder, 1, 1) == '~' and redis.call('DEL', calls) == 1
    if holder ~= token and holder ~= claim and not unheard then
        if patience == 0 then return 0 end
        local left = redis.call('PTTL', lock)
        local wait = left < 0 and patience or math.min(left + 1, patience)
        local looked = now[1] * 1000 + math.floor(now[2] / 1000) + wait + 500
        redis.call('ZADD', queue, looked, token)
        redis.call('PEXPIRE', queue, 60000)
        return wait
    end
    redis.call('SET', lock, token, 'PX', lease)
end
redis.call('ZREM', queue, token)
return {payload, redis.call('PTTL', record), now[1], now[2]}
""")

# Does what the holder has noted, once, however often it is sent; then either renews the lease or
# unlocks. A first commit that unlocks is news as long as the lock is there, without a look at what
# was done. If somebody waits, the lock is reserved and who has listened longest is called.
# Gives 0 if the lock was lost. Only the write of the record may fail for want of memory: it is
# the first change.
COMMIT = Script("""
local record, lock, queue, calls, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token, number, lease, unlock = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local action, lifetime, payload = ARGV[5], ARGV[6], ARGV[7]
local mine = redis.call('GET', lock) == token
local is_news = mine and number == 1 and unlock ~= ''
if not is_news and tonumber(redis.call('GET', done) or 0) >= number then return 1 end
if not mine then return 0 end
if action == 'delete' then redis.call('DEL', record)
elseif action == 'set' and lifetime == '' then redis.call('SET', record, payload)
elseif action == 'set' then redis.call('SET', record, payload, 'PX', lifetime)
elseif action == 'touch' and lifetime == '' then redis.call('PERSIST', record)
elseif action == 'touch' then redis.call('PEXPIRE', record, lifetime)
end
if action ~= '' then redis.pcall('SET', done, number, 'PX', 60000) end
if unlock == '' then
    redis.call('PEXPIRE', lock, lease)
    return 1
end
redis.call('DEL', lock)
if redis.call('EXISTS', queue) == 0 then return 1 end
local now = redis.call('TIME')
if redis.call('ZCOUNT', queue, now[1] * 1000 + math.floor(now[2] / 1000), '+inf') > 0 then
    local reserve = math.min(lease, 1000)
    redis.call('SET', lock, '~' .. token, 'PX', reserve)
    redis.call('RPUSH', calls, '~' .. token)
    redis.call('PEXPIRE', calls, reserve)
end
return 1
""")

# Renews the leases of those locks whose holders still have them.
RENEW = Script("""
for i, lock in ipairs(KEYS) do
    if redis.call('GET', lock) == ARGV[i + 1] then redis.call('PEXPIRE', lock, ARGV[1]) end
end
""")

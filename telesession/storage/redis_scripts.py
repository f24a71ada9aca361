"""
The Lua scripts of `RedisStorage`: each runs alone, as a whole, in one round trip.

The record of a session is one key. While the session is in use there are others beside it:

    lock     the token of the holder, or of a reservation; ends with its lease
    queue    the tokens of the waiters, by the time at which each will have asked again
    calls    a call for the longest listener, answered by taking over the reservation
    done     by owner, the number of its last write; ends half a minute after the last one

The other keys have no session:

    index    the keys of the records of an index, all with score 0, so in the order of their bytes
    done:N   the result of a script without a lock, whose owner and number are N; ends after half a
             minute. The script that is sent again finds it.

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


# Takes the lock and reads the record. If the session is busy, it gives the milliseconds to wait for
# a call, the holder, and the end of its lease. If the caller has any patience, it joins the queue,
# too. A claim is a lock that may be taken over. So may an older lock of the same owner: in its
# process one thread at a time gets here for one session. So may a reservation if no waiter was
# there to hear the call. The record is read before the lock is taken, so that another kind of key
# is not locked either.
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

# Reads a record and the milliseconds that are left of its lifetime.
READ = Script("return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}")

# Reads several records, and the milliseconds that are left of each, as one text: a reply for each
# number would take longer than the rest. A key of another kind is an error in the place of its
# record.
READ_ALL = Script("""
local payloads, lefts = {}, {}
for i, record in ipairs(KEYS) do
    payloads[i], lefts[i] = redis.pcall('GET', record), redis.call('PTTL', record)
end
return {payloads, table.concat(lefts, ' ')}
""")

# Does the noted writes of several holders together and once, however often it is sent; then either
# renews the leases or unlocks. Nothing is written unless all locks are there and all other keys are
# as expected, because a script that fails in the middle keeps its first writes. The first commit
# of a hold that also unlocks cannot have been done while the lock is there, so it need not read
# `done`. Without a hold there is no lock, so the commit has a key of its own to note that it is
# done. If a waiter is in a queue, the lock is reserved and the longest listener is called. Gives
# 0, or the number of the first lock that was lost or key that was not as expected. Only the first
# write may fail because the memory is full, and then nothing is written. A number below 0 is that
# of a hold whose record was gone although its lock is there.
#
# The keys are those of the holds, those of the changes, their indexes, and the note.
COMMIT = Script(
    """
local owner, number, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local is_first, unlock, holds = ARGV[4], ARGV[5], tonumber(ARGV[6])
local changes, lost = (#ARGV - 6 - 4 * holds) / 7, 0
for i = 1, holds do
    if lost == 0 and redis.call('GET', KEYS[5 * i - 3]) ~= ARGV[4 * i + 3] then lost = i end
end
if holds > 0 and (lost > 0 or is_first == '' or unlock == '') then
    for i = 1, holds do
        if tonumber(redis.call('HGET', KEYS[5 * i], owner) or 0) >= number then return 0 end
    end
end
if lost > 0 then return lost end
if holds == 0 and redis.call('GET', KEYS[#KEYS]) then return 0 end
for i = 1, changes do
    local value, at = redis.call('GET', KEYS[5 * holds + i]), 4 * holds + 7 * i
    if (value == false) ~= (ARGV[at] == '') or (value and value ~= ARGV[at + 1]) then
        return holds + i
    end
    if ARGV[at + 5] ~= '' then redis.call('ZCOUNT', KEYS[tonumber(ARGV[at + 5])], 0, 0) end
end
local evicted = 0
local function write(record, action, lifetime, payload, i)
    local is_expected = action == 'replace' or action == 'touch'
    if is_expected and redis.call('EXISTS', record) == 0 then evicted = -i end
    if action == '' then return
    elseif action == 'delete' then redis.call('DEL', record)
    elseif action ~= 'set' and action ~= 'replace' and redis.call('EXISTS', record) == 1 then
        if lifetime == '' then redis.call('PERSIST', record)
        else redis.call('PEXPIRE', record, lifetime)
        end
    elseif action == 'touch' then return
    elseif lifetime == '' then redis.call('SET', record, payload)
    else redis.call('SET', record, payload, 'PX', lifetime)
    end
end
local is_write = changes > 0
for i = 1, holds do
    local at = 4 * i + 3
    write(KEYS[5 * i - 4], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], i)
    is_write = is_write or ARGV[at + 1] ~= ''
end
for i = 1, changes do
    local at = 4 * holds + 7 * i
    local index, member = KEYS[tonumber(ARGV[at + 5])], ARGV[at + 6]
    write(KEYS[5 * holds + i], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
    if index and ARGV[at + 2] == 'delete' then redis.call('ZREM', index, member)
    elseif index then redis.call('ZADD', index, 0, member)
    end
end
if holds == 0 then redis.call('SET', KEYS[#KEYS], '', 'PX', KEPT) end
for i = 1, holds do
    local lock, queue, calls, done = KEYS[5 * i - 3], KEYS[5 * i - 2], KEYS[5 * i - 1], KEYS[5 * i]
    if is_write then
        if redis.pcall('HSET', done, owner, number) == 1 and redis.call('HLEN', done) > 100 then
            redis.call('HDEL', done, redis.call('HKEYS', done)[1])
        end
        redis.call('PEXPIRE', done, KEPT)
    end
    if unlock == '' then
        redis.call('PEXPIRE', lock, lease)
    else
        redis.call('DEL', lock)
        if redis.call('EXISTS', queue) == 1 then
            local now = redis.call('TIME')
            local time = now[1] * 1000 + math.floor(now[2] / 1000)
            if redis.call('ZCOUNT', queue, time, '+inf') > 0 then
                local reserve, token = math.min(lease, RESERVATION), '~' .. ARGV[4 * i + 3]
                redis.call('SET', lock, token, 'PX', reserve)
                redis.call('RPUSH', calls, token)
                redis.call('PEXPIRE', calls, reserve)
            end
        end
    end
end
return evicted
""".replace("KEPT", f"{KEPT}").replace("RESERVATION", f"{RESERVATION}")
)

# Stores the records of those numbers that are not in their pages, adds the numbers to the pages and
# the records to their index, and renews the lifetimes of these pages. Gives the positions of the
# numbers. Other kinds of keys are found before the first write. The keys are the note, the index,
# the records and the pages.
ADD_ONCE = Script(
    """
local note, index, lifetime = KEYS[1], KEYS[2], ARGV[1]
local done = redis.call('GET', note)
if done then return done end
redis.call('ZCOUNT', index, 0, 0)
local new = {}
for i = 1, (#ARGV - 1) / 4 do
    if redis.call('GETBIT', KEYS[tonumber(ARGV[4 * i - 2])], ARGV[4 * i - 1]) == 0 then
        redis.call('GET', KEYS[i + 2])
        new[#new + 1] = i
    end
end
local changed = {}
for _, i in ipairs(new) do
    local page = KEYS[tonumber(ARGV[4 * i - 2])]
    redis.call('SETBIT', page, ARGV[4 * i - 1], 1)
    redis.call('SET', KEYS[i + 2], ARGV[4 * i])
    redis.call('ZADD', index, 0, ARGV[4 * i + 1])
    changed[page] = true
end
for page in pairs(changed) do redis.call('PEXPIRE', page, lifetime) end
local result = table.concat(new, ' ')
if result ~= '' then redis.call('SET', note, result, 'PX', KEPT) end
return result
""".replace("KEPT", f"{KEPT}")
)

# Gives the positions of those records of an index that exist, and removes the others from it. The
# keys are the index and the records, the arguments the keys as they are in the index.
FIND_LIVE = Script("""
local live = {}
for i, member in ipairs(ARGV) do
    if redis.call('EXISTS', KEYS[i + 1]) == 1 then live[#live + 1] = i
    else redis.call('ZREM', KEYS[1], member)
    end
end
return live
""")

# Renews the leases of those locks whose holders still have them.
RENEW = Script("""
for i, lock in ipairs(KEYS) do
    if redis.call('GET', lock) == ARGV[i + 1] then redis.call('PEXPIRE', lock, ARGV[1]) end
end
""")

-- Reads the state of a lane from the keys of earlier releases, and then keeps the workers of these releases from taking anything there.
--
-- KEYS    1 bucket  2 permits  3 records  4 ledger:window  5 ledger:day, as in common.lua  6 none
-- ARGV    1 '' to read; else ms for which nothing is taken there; the state expires after twice that time
-- Answer  {bucket, permits…, records…, slices of the window…, of the day…}; nil if there is no state, or it was taken over before
-- Invariant: a state that was taken over once is never taken over again, at any age.

local packed = redis.call('GET', KEYS[1])
if not packed then return false end
local state = cmsgpack.unpack(packed)
if state.movedAt then return false end
if ARGV[1] == '' then
  return {
    packed, redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[3]),
    redis.call('HGETALL', KEYS[4]), redis.call('HGETALL', KEYS[5]),
  }
end
local ms = tonumber(ARGV[1])
state.movedAt = state.last
state.pausedUntil = math.max(state.pausedUntil, state.last + ms)
state.pausedReason = 'moved to a newer release'
redis.call('SET', KEYS[1], cmsgpack.pack(state), 'PX', 2 * ms)
for i = 2, 5 do redis.call('PEXPIRE', KEYS[i], 2 * ms) end
return false

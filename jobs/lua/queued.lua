-- Removes entries from the outbox that are in their lane's queue now.
--
-- ARGV  entries, `<id>-<number>`
-- Answer how many were removed
-- Invariant: the place of a job that a worker claimed meanwhile stays, because it is the worker's lease. Its time is in
-- the future.

local outbox = root .. ':outbox'
local times = redis.call('ZMSCORE', outbox, unpack(ARGV))
local gone = {}
for i, at in ipairs(times) do
  if at and tonumber(at) <= now then gone[#gone + 1] = ARGV[i] end
end
if #gone == 0 then return 0 end
return redis.call('ZREM', outbox, unpack(gone))

-- Brings a delivery back from the history for a while, so that it can be sent again. One that is here stays as it is, for as long.
--
-- ARGV  1 job id  2 ms  3… names and values of its fields
-- Answer 1 | 0 (its job is here, or is being deleted: nothing changes)
-- Invariant: a delivery whose job is here has no time to live of its own.

if redis.call('EXISTS', job_key(ARGV[1])) == 1 then return 0 end
if redis.call('ZSCORE', root .. ':history', 'delete:' .. ARGV[1]) then return 0 end
local key
for i = 3, #ARGV, 2 do
  if ARGV[i] == 'id' then key = root .. ':delivery:' .. ARGV[i + 1] end
end
for i = 3, #ARGV, 2 do redis.call('HSETNX', key, ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', key, ARGV[2])
return 1

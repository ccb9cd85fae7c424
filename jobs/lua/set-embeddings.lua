-- Keeps the answers to single inputs of a completed embedding job, each as if it had been a job of its own.
--
-- ARGV   1 id  2 ttl ms  3… content hash, result, usage (JSON or '') of each
-- Answer how many were kept
-- Invariant: nothing is kept of a job that was deleted, or cancelled, before its answer came.

local id = ARGV[1]
local record = redis.call('HMGET', job_key(id), 'status', 'deleted')
if record[1] ~= 'completed' or record[2] then return 0 end
for i = 3, #ARGV, 3 do
  redis.call('HSET', cache_key(ARGV[i]), 'result', ARGV[i + 1], 'usage', ARGV[i + 2])
  redis.call('PEXPIRE', cache_key(ARGV[i]), ARGV[2])
end
return (#ARGV - 2) / 3

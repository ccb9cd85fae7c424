-- Caches the answers to single inputs of a completed embedding job, each as the answer to a job of its own.
--
-- ARGV   1 id  2 ttl ms  3… content hash, result, usage (JSON or '') of each
-- Answer how many were cached
-- Invariant: nothing is cached of a job that was deleted or cancelled before its answer came.

local id = ARGV[1]
local record = redis.call('HMGET', job_key(id), 'status', 'deleted')
if record[1] ~= 'completed' or record[2] then return 0 end
-- A second call replaces the answers of the first.
local name = answer_name(id, ms(now))
for i = 3, #ARGV, 3 do
  put_answer(ARGV[i], name, ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[2]), 0)
end
return (#ARGV - 2) / 3

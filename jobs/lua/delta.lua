-- Appends chunks of a provider's stream to a running job's events.
--
-- ARGV  1 id  2 call number  3… further JSON members of one event each, with leading comma
-- Answer 1, or 0 if the call is not needed any more: the job has ended, or runs another call. The call of a cancelled leader
--        continues for its followers (`carrying`), without events.

local id = ARGV[1]
local values = redis.call('HMGET', job_key(id), 'status', 'calls', 'group', 'carrying', 'reply', 'live')
if tonumber(values[2]) ~= tonumber(ARGV[2]) then return 0 end
if values[1] ~= 'running' then return values[4] and 1 or 0 end
local job = { id = id, group = values[3], reply = values[5], live = values[6] }
local last = 0
for i = 3, #ARGV do last = emit(job, 'job.delta', ARGV[i]) end
if #ARGV >= 3 then refer_to_deltas(id, last - (#ARGV - 3), #ARGV - 2) end
return 1

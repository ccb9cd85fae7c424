-- Cancels a batch for its owner: no further line starts, and the worker that holds the batch cancels its open jobs.
--
-- ARGV  1 id
-- Answer 'none' | 'cancelling' (now or before) | 'late' (it is over, or finalizing)

local key = batch_key(ARGV[1])
local status = redis.call('HGET', key, 'status')
if not status then return 'none' end
if status == 'cancelling' then return 'cancelling' end
if status ~= 'validating' and status ~= 'in_progress' then return 'late' end
redis.call('HSET', key, 'status', 'cancelling', 'cancelling_at', ms(now))
-- An expiring batch can be cancelled too: each line tells whether it expired or was cancelled.
redis.call('HSET', key, 'ending', 'cancelled')
return 'cancelling'

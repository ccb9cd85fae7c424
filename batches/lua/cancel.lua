-- Ends a batch by its owner's wish: what was not begun will not be, what is open is cancelled by the worker that has it.
--
-- ARGV  1 id
-- Answer 'none' | 'cancelling' (now, or before) | 'late' (it is over, or all but written)

local key = batch_key(ARGV[1])
local status = redis.call('HGET', key, 'status')
if not status then return 'none' end
if status == 'cancelling' then return 'cancelling' end
if status ~= 'validating' and status ~= 'in_progress' then return 'late' end
redis.call('HSET', key, 'status', 'cancelling', 'cancelling_at', ms(now))
-- One that expires is cancelled all the same; which of the two came first is shown by its lines.
redis.call('HSET', key, 'ending', 'cancelled')
return 'cancelling'

-- Deletes the record of a batch that is over. The caller removes its files before.
--
-- ARGV  1 id
-- Answer 'none' | 'open' (it is not over) | 'removed'

local id = ARGV[1]
local key = batch_key(id)
if redis.call('EXISTS', key) == 0 then return 'none' end
if not is_over(id) then return 'open' end
redis.call('DEL', key, key .. ':layout', key .. ':open', key .. ':tallies', key .. ':lease')
redis.call('ZREM', root .. ':batches', id)
redis.call('ZREM', root .. ':batches:active', id)
return 'removed'

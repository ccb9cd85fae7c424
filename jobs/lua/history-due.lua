-- Names the next ended jobs that are to be copied to the history.
--
-- ARGV  1 most
-- Answer {} | {number of the block, id…}; `delete:<id>` is a job that the history has to forget
-- Blocks are numbered in their order, so that a reader of the history knows which of them Redis no longer counts by itself.

local due = redis.call('ZRANGEBYSCORE', root .. ':history', '-inf', ms(now), 'LIMIT', 0, ARGV[1])
if #due == 0 then return {} end
return { redis.call('HINCRBY', root .. ':history:blocks', 'begun', 1), unpack(due) }

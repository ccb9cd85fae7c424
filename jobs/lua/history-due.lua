-- Names the next ended jobs that have to be copied to the history.
--
-- ARGV  1 most
-- Answer {} | {number of the block, id…}; `delete:<id>` is a job that the history has to delete, `delivery:<id>` a delivery
--        that was sent again, of a job that the history has
-- Blocks are numbered in their order. The number is Redis' time, if that is more than the next number. So a reader of
-- the history knows which blocks Redis no longer counts by itself.

local due = redis.call('ZRANGEBYSCORE', root .. ':history', '-inf', ms(now), 'LIMIT', 0, ARGV[1])
if #due == 0 then return {} end
local blocks = root .. ':history:blocks'
local block = math.max(tonumber(redis.call('HGET', blocks, 'begun') or 0) + 1, now)
redis.call('HSET', blocks, 'begun', ms(block))
-- The first block after Redis was emptied. The history has older ones, and all of them are done.
redis.call('HSETNX', blocks, 'done', ms(block - 1))
return { block, unpack(due) }

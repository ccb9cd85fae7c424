-- Names the next ended jobs that are to be copied to the history.
--
-- ARGV  1 most
-- Answer {} | {number of the block, id…}; `delete:<id>` is a job that the history has to forget, `delivery:<id>` a delivery of a job that
-- it has, which was sent again
-- Blocks are numbered in their order, by Redis' time where that is more than the next number, so that a reader of the history knows which of them Redis no longer counts by itself.

local due = redis.call('ZRANGEBYSCORE', root .. ':history', '-inf', ms(now), 'LIMIT', 0, ARGV[1])
if #due == 0 then return {} end
local blocks = root .. ':history:blocks'
local block = math.max(tonumber(redis.call('HGET', blocks, 'begun') or 0) + 1, now)
redis.call('HSET', blocks, 'begun', ms(block))
-- The first block after Redis was emptied: the history has older ones, all of which are done.
redis.call('HSETNX', blocks, 'done', ms(block - 1))
return { block, unpack(due) }

-- Counts the outcomes of a block's lines: so far, or finally, once its results are written.
--
-- ARGV  1 token  2 id  3 block  4 tally (JSON; has `"done":true` when it is final)
-- Answer 1 | 0 (the lease is lost)
-- Invariant: a block counts once, by its latest tally; the final one never changes.

local token, id, block = ARGV[1], ARGV[2], ARGV[3]
if not holds(id, token) then return 0 end
if is_over(id) then return 1 end
local key = batch_key(id)
local known = redis.call('HGET', key .. ':tallies', block)
if known and cjson.decode(known).done then return 1 end
redis.call('HSET', key .. ':tallies', block, ARGV[4])
if cjson.decode(ARGV[4]).done then redis.call('HDEL', key .. ':open', block) end
return 1

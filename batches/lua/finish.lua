-- Ends a batch whose files are sealed, or that has none.
--
-- ARGV  1 token  2 id  3 output file ('' none)  4 error file ('' none)  5 status, unless it ended early
--       6 errors (JSON, '' unchanged)  7 ms to keep the record
-- Answer 1 | 0 (the lease is lost)
-- Invariant: the counts of the record are the sum of the blocks' final tallies.

local token, id = ARGV[1], ARGV[2]
if not holds(id, token) then return 0 end
if is_over(id) then return 1 end
local key = batch_key(id)
local status = redis.call('HGET', key, 'ending') or ARGV[5]
local sums = { completed = 0, failed = 0, inputTokens = 0, cachedTokens = 0, outputTokens = 0, reasoningTokens = 0 }
for _, text in ipairs(redis.call('HVALS', key .. ':tallies')) do
  local tally = cjson.decode(text)
  for name, sum in pairs(sums) do sums[name] = sum + tally[name] end
end
for name, sum in pairs(sums) do redis.call('HSET', key, name, ms(sum)) end
redis.call('HSET', key, 'status', status, status .. '_at', ms(now), 'output_file_id', ARGV[3], 'error_file_id', ARGV[4])
if ARGV[6] ~= '' then redis.call('HSET', key, 'errors', ARGV[6]) end
leave(id, ARGV[7])
return 1

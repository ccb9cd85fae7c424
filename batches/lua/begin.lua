-- The input is valid: its lines may run.
--
-- ARGV  1 token  2 id  3 layout (JSON: where each block begins, bytes)  4… record fields and values
-- Answer 1 | 0 (the lease is lost)

local token, id = ARGV[1], ARGV[2]
if not holds(id, token) then return 0 end
local key = batch_key(id)
if redis.call('HGET', key, 'status') ~= 'validating' then return 1 end
local fields = { 'status', 'in_progress', 'in_progress_at', ms(now) }
for i = 4, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', key, unpack(fields))
redis.call('SET', key .. ':layout', ARGV[3])
return 1

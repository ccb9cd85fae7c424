-- Removes lines whose jobs have ended or gone on. Each is counted once.
--
-- ARGV  1 token  2 id  3… for each line: its number, its outcome (`completed`, `failed`, `left`, `dropped`), its cost and its saving, both in
--       billionths of a dollar
-- Answer 0 (the lease is lost) | 1

local token, id = ARGV[1], ARGV[2]
if not holds(token) then return 0 end
local key = batch_key(id)
for i = 3, #ARGV, 4 do
  if redis.call('HDEL', key .. ':lines', ARGV[i]) == 1 then
    redis.call('HINCRBY', key, ARGV[i + 1], 1)
    if ARGV[i + 2] ~= '0' then redis.call('HINCRBY', key, 'cost_nano', ARGV[i + 2]) end
    if ARGV[i + 3] ~= '0' then redis.call('HINCRBY', key, 'saved_nano', ARGV[i + 3]) end
  end
end
return 1

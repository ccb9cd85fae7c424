-- Changes the settings of a schedule. Open runs continue, and a slot that is already due still runs.
--
-- ARGV  1 id  2 revision that was changed  3 '1': the configuration changes it  4 '1': the change moves the slots  5 next slot then
--       6… record fields and values
-- Answer 'changed' | 'none' | 'stale' (it was changed meanwhile) | 'declared' (only the configuration may change it)

local id = ARGV[1]
local key = schedule_key(id)
local v = redis.call('HMGET', key, 'revision', 'declared', 'next_at')
if not v[1] then return 'none' end
if v[2] == '1' and ARGV[3] ~= '1' then return 'declared' end
if v[1] ~= ARGV[2] then return 'stale' end
local fields = { 'updated_at', ms(now) }
for i = 6, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', key, unpack(fields))
redis.call('HINCRBY', key, 'revision', 1)
if ARGV[4] == '1' then
  redis.call('HSET', key, 'changed_at', ms(now))
  local next_at = read_time(ARGV[5])
  local due = v[3] and v[3] ~= '' and tonumber(v[3]) <= now
  if next_at == '' or not due then plan(id, next_at) end
end
return 'changed'

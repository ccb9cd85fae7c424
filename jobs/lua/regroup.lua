-- Moves a group whose name ends like a part from its old key to its own key.
--
-- ARGV  1 the group's name
-- Answer 1 | 0 (the old key held nothing)
-- Invariant: counts that another process wrote to the new key meanwhile are added to, and never replaced.

local old, new = root .. ':group:' .. ARGV[1], group_key(ARGV[1])
-- A key of another type belongs to another group.
local function read(command, ...)
  local found = redis.pcall(command, ...)
  return found.err and {} or found
end

local figures = old ~= new and read('HGETALL', old) or {}
if #figures == 0 then return 0 end
for i = 1, #figures, 2 do redis.call('HINCRBYFLOAT', new, figures[i], figures[i + 1]) end

local members = read('ZRANGE', old .. ':jobs', 0, -1, 'WITHSCORES')
for i = 1, #members, 2 do redis.call('ZADD', new .. ':jobs', members[i + 1], members[i]) end

-- A stream grows only at its end. To put older entries before the others, all are written again.
local events = read('XRANGE', old .. ':events', '-', '+')
local later = redis.call('XRANGE', new .. ':events', '-', '+')
if #events > 0 then redis.call('DEL', old .. ':events', new .. ':events') else later = {} end
for _, entry in ipairs(later) do events[#events + 1] = entry end
for _, entry in ipairs(events) do
  local added = redis.pcall('XADD', new .. ':events', entry[1], unpack(entry[2]))
  if type(added) == 'table' and added.err then redis.call('XADD', new .. ':events', '*', unpack(entry[2])) end
end

redis.call('DEL', old)
if #members > 0 then redis.call('DEL', old .. ':jobs') end
return 1

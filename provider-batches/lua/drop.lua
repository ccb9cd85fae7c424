-- Removes jobs that went another way.
--
-- ARGV  members
-- Answer number of jobs that waited

local by_class, count = {}, 0
for _, member in ipairs(ARGV) do
  local line = read_waiting(member)
  if line then
    count = count + 1
    by_class[line.class] = by_class[line.class] or {}
    table.insert(by_class[line.class], member)
  end
end
for class, members in pairs(by_class) do stop_waiting(class, members) end
return count

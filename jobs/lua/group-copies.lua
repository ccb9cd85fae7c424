-- What a group knows about those of its jobs that the history has. The loader puts this file after common.lua in the
-- scripts that need it.
--
-- Invariant: `copied_unpriced` is in a group's hash from its first copy on. A group without it has copies of an earlier
-- release, which did not count their calls without a price. Such a group gets none until its hash is created again.

-- Whether `copied_unpriced` of the group counts all of its copies. Creates the field in a group without copies. Call it
-- before a copy is counted.
local function counts_unpriced_copies(group)
  local key = group_key(group)
  if redis.call('HEXISTS', key, 'copied_unpriced') == 1 then return true end
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 7) == 'copied:' then return false end
  end
  redis.call('HSET', key, 'copied_unpriced', '0')
  return true
end

-- What a group knows of those of its jobs that the history has. The loader puts it after common.lua in the scripts that need it.
--
-- Invariant: `copied_unpriced` stands in a group's hash from its first copy on. A group without it has copies of the release before,
-- which did not count their calls without a price: it gets none until its hash is made anew.

-- Whether `copied_unpriced` of the group names all of its copies. Begins it in a group without any. To be called before a copy is counted.
local function counts_unpriced_copies(group)
  local key = group_key(group)
  if redis.call('HEXISTS', key, 'copied_unpriced') == 1 then return true end
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 7) == 'copied:' then return false end
  end
  redis.call('HSET', key, 'copied_unpriced', '0')
  return true
end

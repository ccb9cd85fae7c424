-- Deletes a job. The loader puts this file after common.lua in the scripts that need it.
--
-- Invariants: a running leader with followers leaves a tombstone without content until its call has served them. If the
-- history has the job, its deletion from a group does not change the sum of the history's counts and the group's; see
-- history-mark.lua.

-- The job was copied to the history as `copied` says, with this many calls without a price. Its group's counts no
-- longer name it as a copy.
local function uncount_copy(job, copied, unpriced, moves)
  local status, nano = string.match(copied, '^(%l+) (%d+)$')
  local group = group_key(job.group)
  redis.call('HINCRBY', group, 'copied:' .. status, -1)
  -- The cost of the group stays counted.
  if moves then return end
  redis.call('HINCRBY', group, 'copied_nano', -tonumber(nano))
  -- A group without it has copies of an earlier release; see group-copies.lua.
  if unpriced and redis.call('HEXISTS', group, 'copied_unpriced') == 1 then
    redis.call('HINCRBY', group, 'copied_unpriced', -tonumber(unpriced))
  end
end

-- Returns the job's status, and the id of the job that leads now instead, or ''. `moves`: the history has the job, and
-- shows it from now on.
local function forget(job, moves)
  local id, was, promoted = job.id, job.status, ''
  if not is_terminal(was) then
    promoted = leave_flight(job, was)
  elseif not job.carrying and flight_of(job.hash) == id then
    -- The job was deleted between two calls that end its followers. One of them leads now.
    promoted = promote(job.hash) or ''
  end

  if job.flow and not is_terminal(was) then tell_flow(job, 'deleted') end
  release(job)
  if job.fair then
    fair.free(job)
    if not is_terminal(was) then fair.add(fair.read(job.fair), 'open', -1) end
  end
  -- If the worker of a directly dispatched job dies, the sweep needs these fields to queue the job. The next claim lets
  -- another job lead.
  local place = redis.call('HMGET', job_key(id), 'lane', 'priority', 'cost', 'copied', 'key', 'copied_unpriced', 'claim')
  take_out(root .. ':jobs', id)
  take_out(root .. ':status:' .. was, id)
  if was == 'scheduled' then count_scheduled(job, -1) end
  if not job.carrying then take_out(root .. ':outbox', id .. '-' .. job.entries) end
  take_out(root .. ':expiry', id)
  if keeps_history then take_out(root .. ':history', id) end
  if moves and place[5] then
    local key = root .. ':idempotency:' .. place[5]
    if redis.call('HGET', key, 'id') == id then redis.call('HSET', key, 'moved', was) end
  end
  -- If the durable run asks for this step again, it gets a job with another id.
  local run, step = string.match(job.durable or '', '^(%x+)\n([^\n]*)')
  if run and not moves and redis.call('HDEL', durable_key(run), 's:' .. step) == 1 then redis.call('HINCRBY', durable_key(run), 'steps', -1) end
  take_out(root .. ':deadlines', id)
  if job.group then
    local group = group_key(job.group)
    redis.call('HINCRBY', group, was, -1)
    if place[4] then uncount_copy(job, place[4], place[6], moves) end
    redis.call('ZREM', group .. ':jobs', id)
    if redis.call('HINCRBY', group, 'total', -1) <= 0 then
      redis.call('UNLINK', group, group .. ':jobs', group .. ':events')
      take_out(root .. ':groups', job.group)
    end
  end
  for _, delivery in ipairs(redis.call('LRANGE', job_key(id) .. ':deliveries', 0, -1)) do
    redis.call('DEL', root .. ':delivery:' .. delivery)
    redis.call('ZREM', root .. ':webhooks', delivery)
  end
  local keys = { job_key(id), job_key(id) .. ':events', job_key(id) .. ':attempts', job_key(id) .. ':deliveries' }
  keys[5] = drop_answer(job)
  let_files_go(job.files, now)
  redis.call('UNLINK', unpack(keys))
  if job.carrying then
    redis.call('HSET', job_key(id), 'status', 'cancelled', 'created_at', job.created_at, 'hash', job.hash,
      'cache_mode', job.cache_mode, 'calls', job.calls, 'entries', job.entries, 'carrying', '1', 'deleted', '1',
      'lane', place[1] or '', 'priority', place[2] or '', 'cost', place[3] or '', 'claim', place[7] or '')
  end
  redis.call('PUBLISH', root .. ':live:' .. id, '0')
  if job.reply then redis.call('PUBLISH', job.reply, id) end
  if job.group then redis.call('PUBLISH', root .. ':live:group:' .. job.group, id) end
  return was, promoted
end

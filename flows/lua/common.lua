-- Shared by every script of this folder; put in front of each when it is loaded.
--
-- KEYS[1] is the tenant's root, whose hash tag is part of every key built here. Times are Unix ms of Redis' clock.
-- A flow's `version` grows with every change. A worker that advances a flow names the version that it has seen, and writes nothing if
-- another change came between. Each script may be sent twice.
--
-- Keys (jobs/lua/common.lua writes to `:ended`, `flows:due` and the sums of money, when a job of a flow ends):
--   flow:<id>            hash: the record
--   flow:<id>:steps      hash, by step number: the step's state (JSON)
--   flow:<id>:elements   hash, `<step>:<element>`: elements that are not simply open, or completed at their first attempt
--   flow:<id>:values     hash, by step number: signals, and values that replace failed results
--   flow:<id>:ended      list: ended jobs that are not counted yet
--   flow:<id>:events, job:<id>:deliveries   lists
--   flows, flows:status:<status>   sorted sets of ids by creation
--   flows:due            sorted set: ids by when they are due; a claimed flow is due at the end of its lease
--   flow-key:<key>       hash: the flow that was created with an idempotency key

local root = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function ms(value) return string.format('%d', value) end
local function flow_key(id) return root .. ':flow:' .. id end
-- The webhooks find the deliveries of the job or flow with this id here.
local function deliveries_key(id) return root .. ':job:' .. id .. ':deliveries' end
local function due_key() return root .. ':flows:due' end
local function is_over(status) return status == 'completed' or status == 'failed' or status == 'cancelled' end

-- Makes a flow due now, and wakes a worker.
local function wake(id)
  redis.call('ZADD', due_key(), ms(now), id)
  redis.call('PUBLISH', root .. ':flows:wake', id)
end

-- Appends an event. The list's new length is the event's `seq`, so the numbers have no gaps. All events of flows go through here.
-- `members`: JSON text of further members with a leading comma, or ''.
local function emit_flow(id, event, members)
  local text = '{"event":"' .. event .. '","at":' .. ms(now) .. members .. '}'
  local seq = redis.call('RPUSH', flow_key(id) .. ':events', text)
  refer(id, seq, event)
  redis.call('PUBLISH', root .. ':live:' .. id, seq)
  return seq
end

-- Writes the delivery of a terminal event to the webhook outbox; the layout is described in webhooks/store.ts.
local function deliver(id, event, seq)
  local origin = redis.call('HMGET', flow_key(id), 'webhook', 'request_id', 'trace')
  if not origin[1] or origin[1] == '' then return end
  local target = cjson.decode(origin[1])
  local wanted = false
  for _, name in ipairs(target.events) do wanted = wanted or name == event end
  if not wanted then return end
  local delivery = 'whd_' .. string.gsub(id, '^flow_', '') .. '_' .. seq
  redis.call('HSET', root .. ':delivery:' .. delivery, 'id', delivery, 'job_id', id, 'event', event,
    'url', target.url, 'status', 'pending', 'created_at', ms(now), 'next_attempt_at', ms(now),
    'attempts', '[]', 'attempt_count', '0', 'lane', '', 'request_id', origin[2] or '', 'trace', origin[3] or '')
  redis.call('RPUSH', deliveries_key(id), delivery)
  redis.call('ZADD', root .. ':webhooks', ms(now), delivery)
  redis.call('PUBLISH', root .. ':webhooks:wake', delivery)
end

-- Moves a flow between the status indexes.
local function move(id, from, to)
  if from == to then return end
  local created = redis.call('HGET', flow_key(id), 'created_at')
  redis.call('ZREM', root .. ':flows:status:' .. from, id)
  redis.call('ZADD', root .. ':flows:status:' .. to, created, id)
  redis.call('HSET', flow_key(id), 'status', to)
end

-- Ends a flow. The next worker that looks at it cancels its open jobs.
local function end_flow(id, from, status, retain)
  move(id, from, status)
  redis.call('HSET', flow_key(id), 'finished_at', ms(now), 'expires_at', ms(now + retain))
  deliver(id, 'flow.' .. status, emit_flow(id, 'flow.' .. status, ''))
end

-- Comes before create.lua, and after the gate (`open_gate` of ratelimit/scripts.ts), in the script that starts jobs for
-- their workers. Its keys are in other slots than the tenant's, so it is only for a Redis without a cluster.
--
-- KEYS  3… keys that exist only while something waits in the lane's queue, the one that exists while workers have entries of it,
--       then the keys of the gate
-- ARGV  1 how many of KEYS 3… are of the lane's queue  2 how many arguments the gate has  3… these; then those of create.lua
--       (`encodeGate` of create-script.ts; `encodeStart` of direct-plan.ts writes argument 20 of a job)
-- Invariants: a job is started here only if nothing else waits for its lane, and with the permit of its call. Only
-- start.lua checks budgets and the limits of fair keys, so jobs that have them are not started here.

local first = 3 + tonumber(ARGV[2])
local take_permit, save_gate, is_idle, has_to_wait = nil, nil, nil, false

-- Whether the lane's queue is empty, workers have none of its entries, and the tenant is not paused. It does not see
-- entries that become due at this moment, and jobs that a worker got without an entry and has not claimed yet.
local function is_lane_idle()
  if is_idle == nil then
    local last = 2 + tonumber(ARGV[1])
    local is_free = redis.call('EXISTS', unpack(KEYS, 3, last)) == 0
    has_to_wait = not is_free and redis.call('EXISTS', unpack(KEYS, 3, last - 1)) > 0
    is_idle = is_free and redis.call('EXISTS', root .. ':paused') == 0
  end
  return is_idle
end

-- Whether a worker listens to the channel. If the server does not allow the question, no job is started here.
local listening = {}
local function is_heard(channel)
  if listening[channel] == nil then
    local answer = redis.pcall('PUBSUB', 'NUMSUB', channel)
    listening[channel] = not answer.err and answer[2] > 0
  end
  return listening[channel]
end

-- The gate is opened once for all jobs of the script, which are of one lane. False: it cannot be opened.
local function open_lane()
  if take_permit == nil then
    local keys, args = { unpack(KEYS, 3 + tonumber(ARGV[1])) }, { unpack(ARGV, 3, first - 1) }
    local ok, take, save = pcall(open_gate, keys, args)
    take_permit, save_gate = ok and take, ok and save or nil
  end
  return take_permit
end

-- Takes the permit of a new job's call, for a worker that listens to `channel`. Nil: the worker starts the job, as
-- elsewhere. False: the call has to wait in the lane's queue. `ask`: argument 20 of the job.
local function take_for(job, ask, channel)
  if ask == '' or job.accounts or job.fair or job.flow or job.gather then return nil end
  -- Its deadline has passed, and the worker will fail it.
  if job.deadline > 0 and job.deadline <= now then return nil end
  local may_start = is_lane_idle()
  if has_to_wait then return false end
  if not may_start or not is_heard(channel) then return nil end
  local token, lease, a, b, c, d, tenant, source, tier, members =
    string.match(ask, '^(.-)\n(%d+)\n(%d+)\n(%d+)\n(%d+)\n(%d+)\n(.-)\n(.-)\n(.-)\n(.*)$')
  if not token or not open_lane() then return nil end
  local cost = { tonumber(a), tonumber(b), tonumber(c), tonumber(d) }
  local permit = take_permit(cost, { tenant = tenant, source = source, tier = tier })
  -- The jobs after it wait behind it.
  has_to_wait = not permit
  return not has_to_wait and { permit = permit, token = token, lease = tonumber(lease), members = members }
end

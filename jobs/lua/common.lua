-- Shared by every script of this folder: the loader puts it before each.
--
-- KEYS[1] is the tenant's root, `<prefix>:{t:<tenant>}`. Every key built here contains its hash tag, so a script touches
-- one slot only. Times are Unix milliseconds of the Redis server's clock. The clocks of processes decide nothing.

local root = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Most followers that one script call completes, for all leaders together, so that no call blocks Redis for long.
local FOLLOWERS_PER_CALL = 100
local followers_left = FOLLOWERS_PER_CALL
-- How many events of a group are kept for replay.
local GROUP_EVENTS = 100000

local now_text = string.format('%d', now)
local function ms(value) return value == now and now_text or string.format('%d', value) end
local function job_key(id) return root .. ':job:' .. id end
local function flight_key(hash) return root .. ':flight:' .. hash end
local function followers_key(hash) return root .. ':followers:' .. hash end
local function durable_key(run) return root .. ':durable:' .. run end
local function flow_key(id) return root .. ':flow:' .. id end

-- The same as `groupKey` of jobs/keys.ts: no group's key equals the key of another group's part.
local function group_key(group)
  local head, part = string.match(group, '^(.*):(%l+)$')
  if part == 'jobs' or part == 'events' then group = head .. '%' .. part end
  return root .. ':group:' .. group
end

-- What is written once ----------------------------------------------------------------------------------------
-- A script may accept, start or end many jobs. It gathers its writes to the tenant's sorted sets and sums of money, and
-- makes them at its end, with one command for each key (`write_gathered`, which also runs if the script fails).
-- Invariant: within the script, all reads of these keys see the gathered writes, through `score_of` and `sum_of`.

-- By key and member: its score, or false if it is removed.
local gathered_sets = {}
-- By key: the amount to add, and how long a new sum lives, ms.
local gathered_sums, sum_lives = {}, {}
-- By key: true. Flights that have ended; see Flights of contents.
local ended_flights = {}
-- Most members in one command, because Lua's stack is limited.
local MEMBERS_PER_COMMAND = 2000

local function put(key, score, member)
  if not gathered_sets[key] then gathered_sets[key] = {} end
  gathered_sets[key][member] = score
end

local function take_out(key, member) put(key, false, member) end

local function score_of(key, member)
  local score = (gathered_sets[key] or {})[member]
  if score ~= nil then return score end
  return redis.call('ZSCORE', key, member)
end

local function add_to_sum(key, amount, life)
  gathered_sums[key] = (gathered_sums[key] or 0) + amount
  sum_lives[key] = life
end

-- The value read from this key, plus the amount gathered for it.
local function sum_of(key, value) return tonumber(value or 0) + (gathered_sums[key] or 0) end

local function write_set(command, key, values, per_member)
  local most = MEMBERS_PER_COMMAND * per_member
  for first = 1, #values, most do
    write_last(command, key, unpack(values, first, math.min(first + most - 1, #values)))
  end
end

local function write_gathered()
  for key, members in pairs(gathered_sets) do
    local gone, scored = {}, {}
    for member, score in pairs(members) do
      if score then
        scored[#scored + 1] = score
        scored[#scored + 1] = member
      else
        gone[#gone + 1] = member
      end
    end
    write_set('ZREM', key, gone, 1)
    write_set('ZADD', key, scored, 2)
  end
  for key, amount in pairs(gathered_sums) do
    if amount ~= 0 and write_last('INCRBY', key, ms(amount)) == amount and sum_lives[key] then
      redis.call('PEXPIRE', key, sum_lives[key])
    end
  end
  local ended = {}
  for key in pairs(ended_flights) do ended[#ended + 1] = key end
  if #ended > 0 then write_last('DEL', unpack(ended)) end
end

-- Flights of contents -------------------------------------------------------------------------------------------
-- The flight of a content is the id of the job whose call serves it, at `flight_key`. A script that has many jobs looks up at once what
-- is known of all their contents, and deletes at its end the flights that ended.
-- Invariant: within the script all reads of flights see what it wrote: by `flight_of`, `set_flight` and `end_flight`.

-- By hash: the flight, or false where there is none, as this script knows it.
local flights = {}
-- By hash: true where neither an answer is kept nor was one cached by an earlier release.
local unanswered = {}

local function flight_of(hash)
  local id = flights[hash]
  if id == nil then
    id = redis.call('GET', flight_key(hash))
    flights[hash] = id
  end
  return id
end

local function set_flight(hash, id)
  redis.call('SET', flight_key(hash), id)
  flights[hash] = id
  ended_flights[flight_key(hash)] = nil
end

local function end_flight(hash)
  flights[hash] = false
  ended_flights[flight_key(hash)] = true
end

local function read_flights(hashes)
  if #hashes == 0 then return end
  local keys = {}
  for i, hash in ipairs(hashes) do keys[i] = flight_key(hash) end
  for i, id in ipairs(redis.call('MGET', unpack(keys))) do flights[hashes[i]] = id end
end

local function answer_key(hash, by) return root .. ':answer:' .. hash .. (by and (':' .. by) or '') end
-- Where earlier releases cached an answer.
local function old_cache_key(hash) return root .. ':cache:' .. hash end

-- Usually nothing is known of contents, neither an answer nor what is at `keys`: then this answers true, and nothing is looked up for
-- each of them. Changes `keys`.
local function are_unknown(hashes, keys)
  for _, hash in ipairs(hashes) do
    keys[#keys + 1] = answer_key(hash)
    keys[#keys + 1] = old_cache_key(hash)
  end
  if #keys == 0 or redis.call('EXISTS', unpack(keys)) > 0 then return false end
  for _, hash in ipairs(hashes) do unanswered[hash] = true end
  return true
end

-- What stands above, most functions below use. The loader puts the rest into a function of its own (`inner` of lib/event-references.ts).
-- =====

local function is_terminal(status)
  return status == 'completed' or status == 'failed' or status == 'cancelled'
end

-- The fields of a record that transitions read.
local FIELDS = { 'status', 'created_at', 'group', 'webhook', 'hash', 'cache_mode',
  'calls', 'attempts', 'max_attempts', 'deadline', 'carrying', 'deleted', 'lost', 'leader', 'next_attempt_at',
  'ready_at', 'entries', 'estimate_usd', 'reserved_usd', 'reply', 'live', 'estimate', 'reserved_nano', 'held_nano', 'paid_nano',
  'answer', 'durable', 'flow', 'gather', 'accounts', 'flex', 'files', 'fair', 'fair_turn' }
local fields_with = {}
-- The record that was read last, by field: false where it has none. One table for all, because a table costs most where it grows.
local record = {}

-- The values of these fields and of those in `more`. Redis finds a field of a record by going through it, so many fields cost more than all of them.
-- All are read where the body is needed as well: alone it may be larger than everything else.
local function read_record(id, more, whole)
  local names = more and fields_with[more] or FIELDS
  if more and not fields_with[more] then
    names = { unpack(FIELDS) }
    for _, name in ipairs(more) do names[#names + 1] = name end
    fields_with[more] = names
  end
  if not whole then return redis.call('HMGET', job_key(id), unpack(names)) end
  local flat, v = redis.call('HGETALL', job_key(id)), { unpack(names) }
  for i = 1, #flat, 2 do record[flat[i]] = flat[i + 1] end
  for i = 1, #v do v[i] = record[v[i]] or false end
  for i = 1, #flat, 2 do record[flat[i]] = false end
  return v
end

-- A job by its record; nil if there is no such job (or only its tombstone, unless `tombstones` is set).
-- `more`: further fields to read in the same command, one table for all jobs of a script; `job.more` has them in their order. `whole`: the
-- body is among them.
local loads = 0
local function load(id, tombstones, more, whole)
  loads = loads + 1
  local v = read_record(id, more, whole)
  if not v[1] or (v[12] and not tombstones) then return nil end
  return {
    id = id, status = v[1], created_at = v[2], group = v[3], webhook = v[4], hash = v[5], cache_mode = v[6],
    calls = tonumber(v[7] or 0), attempts = tonumber(v[8] or 0), max_attempts = tonumber(v[9] or 1),
    deadline = tonumber(v[10] or 0), carrying = v[11], deleted = v[12], lost = tonumber(v[13] or 0),
    leader = v[14], next_attempt_at = tonumber(v[15] or 0), ready_at = tonumber(v[16] or v[2] or now),
    entries = tonumber(v[17] or 0), estimate_usd = tonumber(v[18] or 0), reserved_usd = v[19], reply = v[20], live = v[21],
    estimate = v[22], reserved = tonumber(v[23] or nil), held = tonumber(v[24] or nil), paid = tonumber(v[25] or 0), answer = v[26],
    durable = v[27], flow = v[28], gather = v[29], accounts = v[30], flex = v[31], files = v[32], fair = v[33], fair_turn = v[34],
    more = more and { unpack(v, 35, 34 + #more) },
  }
end

-- An event's text. `members` is JSON text of further members, with its leading comma, or ''.
local function event_text(event, members)
  return '{"event":"' .. event .. '","at":' .. ms(now) .. (members or '') .. '}'
end

-- Announces an event with this text, which was just written as the job's `seq`-th.
local function announce(job, event, seq, text)
  if event ~= 'job.delta' then refer(job.id, seq, event) end
  -- A new job has no listeners.
  if not job.is_new then redis.call('PUBLISH', root .. ':live:' .. job.id, seq) end
  -- The process that shows the job live need not read the event. `reply` sends the end.
  if job.live and job.reply and not is_terminal(string.sub(event, 5)) then
    redis.call('PUBLISH', job.reply, job.id .. '\nevent\n' .. seq .. '\n' .. text)
  end
  if job.group then
    redis.call('XADD', group_key(job.group) .. ':events', 'MAXLEN', '~', GROUP_EVENTS, '*',
      'id', job.id, 'seq', seq)
    redis.call('PUBLISH', root .. ':live:group:' .. job.group, job.id)
  end
end

-- Appends an event. Its `seq` is the new length of the list, so numbers start at 1 and have no gaps.
local function emit(job, event, members)
  local text = event_text(event, members)
  local seq = redis.call('RPUSH', job_key(job.id) .. ':events', text)
  announce(job, event, seq, text)
  return seq
end

-- Flows -----------------------------------------------------------------------------------------------------
-- A job of a flow has `flow` in its record: `<flow> <step> <element> <attempt> - <name of the step>`. These functions
-- tell its flow that the job ended, and its cost. flows/lua/common.lua names the keys. For a deleted flow they write
-- nothing.

-- Adds to a sum of the job's flow.
local function add_to_flow(job, field, nano)
  if not job.flow or nano == 0 then return end
  local key = flow_key(string.match(job.flow, '^%S+'))
  if redis.call('EXISTS', key) == 1 then redis.call('HINCRBY', key, field, ms(nano)) end
end

-- Tells the job's flow that the job ended, once, in the step that ends it.
local function tell_flow(job, status, usage)
  local id, place = string.match(job.flow, '^(%S+) (%d+ %d+ %d+)')
  if redis.call('EXISTS', flow_key(id)) == 0 then return end
  redis.call('RPUSH', flow_key(id) .. ':ended', place .. ' ' .. status .. ' ' .. ms(now) .. ' ' .. (usage or ''))
  if redis.call('ZADD', root .. ':flows:due', 'LT', 'CH', ms(now), id) == 1 then
    redis.call('PUBLISH', root .. ':flows:wake', id)
  end
end

-- Money -----------------------------------------------------------------------------------------------------
-- Amounts are whole billionths of a dollar. Two sums count against a tenant's budget of a UTC day: the money spent
-- (`money:spent:<day>`), and the expected cost of open jobs with a call of their own (`money:reserved`). So a thousand
-- jobs cannot all be admitted on the last cent. `money:running` is the reserved part whose calls are under way, for
-- tenants with a budget.
-- Invariants: a call is booked once, even if a worker sends it twice, because a second booking adds only the
-- difference. The step that ends a job releases its reservation and books the cost of its call, or an estimate until
-- the cost is known.

local DAY_MS = 86400000
-- How long the lengths of a lane's answers are remembered after the latest one.
local LEARNED_MS = 7 * DAY_MS
-- How many lengths are remembered, and from how many on the configured expectation no longer counts.
local LEARNED_MOST = 64
local LEARNED_LEAST = 10
-- How long the costs of a deleted job's calls are kept. No outcome arrives later.
local BOOKED_MS = DAY_MS
-- Upper bound of an estimate, so that sums of a million estimates are exact.
local MOST_NANO = 5e12

local TODAY = math.floor(now / DAY_MS)
local function spent_key(day) return root .. ':money:spent:' .. (day or TODAY) end
local function to_nano(usd) return math.floor((tonumber(usd) or 0) * 1e9 + 0.5) end
local function to_usd(nano) return string.format('%.9f', nano / 1e9) end

-- Money spent today, expected cost of open jobs, and the part of it under way. Earlier releases counted in dollars
-- under other keys; their values count too.
local function read_money()
  local v = redis.call('MGET', spent_key(), root .. ':money:reserved', root .. ':money:running',
    root .. ':spent:' .. math.floor(now / DAY_MS), root .. ':reserved')
  return math.max(0, sum_of(spent_key(), v[1])) + to_nano(v[4] or 0),
    math.max(0, sum_of(root .. ':money:reserved', v[2])) + math.max(0, to_nano(v[5] or 0)),
    math.max(0, sum_of(root .. ':money:running', v[3]))
end

-- Budgets of windows (a day, a week or a month of a time zone, or without an end) of a tenant, a key, a fair key, a
-- group or a flow. Each window has an account: a hash `budget:<owner>:<start>:<end>`. A job counts in the windows in
-- which it was accepted, for ever: `accounts` in its record names their accounts. Jobs without such budgets have no
-- accounts, and cost no further command.
-- Fields: `spent`; `reserved` for open jobs; `running`, the part of that whose calls are under way; from the latest
-- accepted job: `limit`, `about` (whose budget it is, as JSON) and `notify` (the address for webhooks about it);
-- `told`: the highest level that was reported. `day` in `accounts` means the tenant's budget of a UTC day, whose sums
-- are above; there is no account for it.
-- Invariants: each level of a window is reported once. An account is kept for 40 days after its window, and an account
-- without an end for 400 days after its latest change.
local ACCOUNT_MS = 40 * DAY_MS
local MOST_WINDOW_MS = 360 * DAY_MS
local DAY_BUDGET = '{"owner":"tenant","name":null,"per":"day","time_zone":"UTC"}'

local function account_key(account) return root .. ':budget:' .. account end
local function day_account()
  local start = now - now % DAY_MS
  return 'day:' .. ms(start) .. ':' .. ms(start + DAY_MS)
end
-- When the account's window ends, Unix ms; nil: never.
local function end_of(account)
  local ends = tonumber(string.match(account, '(%d+)$'))
  return ends - now <= MOST_WINDOW_MS and ends or nil
end

-- By name: what this script knows about accounts, and what it adds to them.
local accounts = {}
local function account_of(account)
  local one = accounts[account]
  if one then return one end
  local v = redis.call('HMGET', account_key(account), 'spent', 'reserved', 'running', 'limit', 'about', 'notify', 'told')
  one = { spent = tonumber(v[1] or 0), reserved = tonumber(v[2] or 0), running = tonumber(v[3] or 0), limit = tonumber(v[4] or nil),
    about = v[5], notify = v[6], told = tonumber(v[7] or 0), added = {} }
  accounts[account] = one
  return one
end

local function add_to_accounts(job, field, nano)
  if not job.accounts or nano == 0 then return end
  for account in string.gmatch(job.accounts, '%S+') do
    if account ~= 'day' then
      local one = account_of(account)
      one[field] = one[field] + nano
      one.added[field] = (one.added[field] or 0) + nano
    elseif field == 'spent' then
      account_of(day_account()).is_spent_from = true
    end
  end
end

-- Stores what the account's budget is.
local function keep_budget(account, limit, about, notify)
  local one = account_of(account)
  if one.limit == tonumber(limit) and one.about == about and (one.notify or '') == notify then return end
  -- A budget that was raised may be reported once more.
  if one.limit and one.limit < tonumber(limit) then one.told = 0 end
  one.limit, one.about, one.notify = tonumber(limit), about, notify
  one.set = { 'limit', limit, 'about', about, 'notify', notify, 'told', one.told }
end

-- Money spent and reserved in an account, the budget when a job was last accepted, and the reserved part under way.
local function read_account(account)
  local one = account_of(account)
  return math.max(0, one.spent), math.max(0, one.reserved), one.limit, math.max(0, one.running)
end

-- The budgets that a call counts against, in the form of `encodeBudgets` in jobs/budgets.ts, and the address for
-- webhooks about them. `name`: the name in `accounts` of a job. Budgets with the same window (such as days of two time
-- zones) share one account, and the lowest of them applies.
local function read_budgets(text)
  local daily, notify, windows = string.match(text, '^(%S+) (%S+)(.*)$')
  local found, by_account = {}, {}
  for whose, limit, from, till, next_till, about in string.gmatch(windows or '', '(%S+) (%d+) (%d+) (%d+) (%d+) (%S+)') do
    if now >= tonumber(till) then from, till = till, next_till end
    local account = whose .. ':' .. from .. ':' .. till
    local known = by_account[account]
    if not known then
      known = { name = account, account = account, limit = limit, about = about }
      by_account[account] = known
      found[#found + 1] = known
    elseif tonumber(limit) < tonumber(known.limit) then
      known.limit, known.about = limit, about
    end
  end
  if daily and daily ~= '-' then
    found[#found + 1] = { name = 'day', account = day_account(), limit = ms(to_nano(daily)), about = DAY_BUDGET, is_of_day = true }
  end
  return found, notify == '-' and '' or notify
end

-- The money spent and reserved in a budget.
local function standing_of(budget)
  if budget.is_of_day then return read_money() end
  return read_account(budget.account)
end

-- A budget as messages name it.
local function describe_budget(about, limit)
  local owner, name, per, zone = string.match(about, '^{"owner":"([^"]+)","name":"?([^",]+)"?,"per":"([^"]+)","time_zone":"([^"]+)"}$')
  if not owner then return 'the budget' end
  local of = owner == 'tenant' and 'the tenant' or 'the ' .. string.gsub(owner, '_', ' ') .. ' ' .. name
  local window = per == 'total' and 'in all' or 'a ' .. per .. ' (' .. zone .. ')'
  return 'the budget of ' .. of .. ', ' .. string.format('%.10g', limit / 1e9) .. ' USD ' .. window
end

-- Reports the level of a budget, once for each window and level: as an event, and as a delivery if operations have an
-- address for it.
local BUDGET_LEVELS = { { 80, 'budget.warning' }, { 100, 'budget.exhausted' } }
local function tell_of_budget(account, one, spent, reserved)
  if not one.limit or not one.about then return end
  local reached = (one.refuses or spent >= one.limit) and 100 or spent >= one.limit * 0.8 and 80 or 0
  if reached <= one.told then return end
  local key, lasts = account_key(account), ms((end_of(account) or now + MOST_WINDOW_MS) + ACCOUNT_MS)
  local start, ends = string.match(account, ':(%d+):(%d+)$')
  for _, level in ipairs(BUDGET_LEVELS) do
    if level[1] > one.told and level[1] <= reached then
      local text = event_text(level[2], ',"budget":' .. one.about .. ',"start":' .. start .. ',"end":' .. ends .. ',"limit":' .. ms(one.limit) ..
        ',"spent":' .. ms(spent) .. ',"reserved":' .. ms(reserved))
      local seq = write_last('RPUSH', key .. ':events', text)
      if type(seq) ~= 'number' then return end
      write_last('PEXPIREAT', key .. ':events', lasts)
      refer('budget_' .. account, seq, level[2])
      if one.notify and one.notify ~= '' then
        local delivery = 'whd_budget' .. string.sub(redis.sha1hex(account), 1, 24) .. '_' .. seq
        write_last('HSET', root .. ':delivery:' .. delivery, 'id', delivery, 'job_id', 'budget_' .. account, 'event', level[2], 'url', one.notify,
          'status', 'pending', 'created_at', ms(now), 'next_attempt_at', ms(now), 'attempts', '[]', 'attempt_count', '0', 'lane', '',
          'request_id', '', 'trace', '')
        write_last('PEXPIREAT', root .. ':delivery:' .. delivery, lasts)
        write_last('ZADD', root .. ':webhooks', ms(now), delivery)
        redis.call('PUBLISH', root .. ':webhooks:wake', delivery)
      end
    end
  end
  write_last('HSET', key, 'told', reached)
end

-- How many fair keys of a window are listed, by what they spent.
local FAIR_KEYS_SHOWN = 100
local function rank_fair_key(account, one)
  local digest, window = string.match(account, '^fair:([^:]+)(:%d+:%d+)$')
  if not digest then return end
  local key = root .. ':fair-key-costs' .. window
  write_last('ZADD', key, ms(one.spent), digest)
  write_last('ZREMRANGEBYRANK', key, 0, -FAIR_KEYS_SHOWN - 1)
  write_last('PEXPIREAT', key, ms((end_of(account) or now + MOST_WINDOW_MS) + ACCOUNT_MS))
end

local function write_accounts()
  for account, one in pairs(accounts) do
    local key, is_changed = account_key(account), one.set ~= nil
    if one.set then write_last('HSET', key, unpack(one.set)) end
    for field, nano in pairs(one.added) do
      if nano ~= 0 then
        write_last('HINCRBY', key, field, ms(nano))
        is_changed = true
      end
    end
    if is_changed then write_last('PEXPIREAT', key, ms((end_of(account) or now + MOST_WINDOW_MS) + ACCOUNT_MS)) end
    if (one.added.spent or 0) ~= 0 then rank_fair_key(account, one) end
    if one.is_spent_from or (one.is_of_day and one.refuses) then
      local spent, reserved = read_money()
      tell_of_budget(account, one, spent, reserved)
    elseif one.refuses or (one.added.spent or 0) > 0 then
      tell_of_budget(account, one, math.max(0, one.spent), math.max(0, one.reserved))
    end
  end
end

-- By key: what is known about a lane's answers, if this script adds to it.
local learned = {}

local function write_learned()
  for key, samples in pairs(learned) do
    write_last('SET', key, table.concat(samples, ' ', math.max(1, #samples - LEARNED_MOST + 1)), 'PX', LEARNED_MS)
  end
end

-- Expected output tokens of an answer of the lane: the 90th percentile of this tenant's latest answers, or their mean
-- if that is more. Until ten are known, `unlearned` counts as one of them. Second value: true if none is known.
local function expected_output(lane, unlearned)
  local samples, sum = {}, 0
  for sample in string.gmatch(redis.call('GET', root .. ':output:' .. lane) or '', '%d+') do
    samples[#samples + 1] = tonumber(sample)
    sum = sum + samples[#samples]
  end
  local count = #samples
  if count == 0 then return unlearned, true end
  if count < LEARNED_LEAST then samples[count + 1] = unlearned end
  table.sort(samples)
  return math.max(samples[math.ceil(#samples * 0.9)], math.ceil(sum / count)), false
end

-- An estimate in the form of jobs/money.ts: billionths of a dollar. For a request without an output cap, more follows:
-- billionths a token, tokens until lengths are known, most tokens (0: any), choices, lane.
local function read_estimate(text)
  local fixed, rate, unlearned, most, choices, lane = string.match(text, '^(%d+) (%S+) (%d+) (%d+) (%d+) (.*)$')
  if not fixed then return nil end
  return { fixed = tonumber(fixed), rate = tonumber(rate), unlearned = tonumber(unlearned), most = tonumber(most),
    choices = tonumber(choices), lane = lane }
end

-- Expected cost of a call, billionths of a dollar. Second value: true if it is a guess, because no lengths are known
-- yet. `learns` false: from the configuration alone.
local function price_estimate(text, learns)
  local estimate = read_estimate(text)
  if not estimate then return math.min(MOST_NANO, tonumber(text) or 0), false end
  local tokens, guessed = estimate.unlearned, true
  if learns then tokens, guessed = expected_output(estimate.lane, tokens) end
  if estimate.most > 0 then tokens = math.min(tokens, estimate.most) end
  return math.min(MOST_NANO, estimate.fixed + math.ceil(tokens * estimate.choices * estimate.rate)), guessed
end

-- Remembers the length of an answer to a request without a cap.
local function learn_output(job, usage)
  local estimate = job.estimate and read_estimate(job.estimate)
  local tokens = estimate and tonumber(string.match(usage, '"output_tokens":(%d+)'))
  if not tokens then return end
  local key = root .. ':output:' .. estimate.lane
  if not learned[key] then
    learned[key] = {}
    for sample in string.gmatch(redis.call('GET', key) or '', '%d+') do table.insert(learned[key], sample) end
  end
  table.insert(learned[key], string.format('%d', math.ceil(tokens / estimate.choices)))
end

-- The expected cost of the job now.
local function estimate_of(job)
  if job.estimate then return (price_estimate(job.estimate, true)) end
  return to_nano(job.estimate_usd)
end

-- `job.nano`: the estimate, if known. `fields`: fields of a record that the caller writes afterwards.
local function reserve(job, fields)
  if job.reserved or job.reserved_usd then return end
  local nano = job.nano or estimate_of(job)
  if nano <= 0 then return end
  job.reserved = nano
  fields[#fields + 1], fields[#fields + 2] = 'reserved_nano', ms(nano)
  add_to_sum(root .. ':money:reserved', nano)
  add_to_accounts(job, 'reserved', nano)
end

-- Removes a field of the job's record: by adding it to `gone`, whose fields the caller removes, or at once without
-- `gone`.
local function clear(job, field, gone)
  if gone then gone[#gone + 1] = field else redis.call('HDEL', job_key(job.id), field) end
end

-- The job's call is over. `gone`: see `clear`.
local function end_hold(job, gone)
  if not job.held then return end
  clear(job, 'held_nano', gone)
  add_to_sum(root .. ':money:running', -job.held)
  add_to_accounts(job, 'running', -job.held)
  job.held = nil
end

local function release(job, gone)
  end_hold(job, gone)
  if job.reserved then
    clear(job, 'reserved_nano', gone)
    add_to_sum(root .. ':money:reserved', -job.reserved)
    add_to_accounts(job, 'reserved', -job.reserved)
    job.reserved = nil
  end
  if job.reserved_usd then
    clear(job, 'reserved_usd', gone)
    redis.call('INCRBYFLOAT', root .. ':reserved', '-' .. job.reserved_usd)
    job.reserved_usd = nil
  end
end

-- `job`: the job in whose accounts it counts. `day`: the number of the UTC day in which it counts; nil: today.
local function spend(nano, job, day)
  local key = spent_key(day)
  add_to_accounts(job, 'spent', nano)
  if nano < 0 then nano = math.max(nano, -math.max(0, sum_of(key, redis.call('GET', key) or 0))) end
  add_to_sum(key, nano, 2 * DAY_MS)
end

-- The id is hashed, so that nothing of a deleted job is kept.
local function booked_key(id) return root .. ':booked:' .. redis.sha1hex(id) end

local function cost_of(ending) return to_nano(string.match(ending or '', '"cost_usd":([%d.eE+-]+)')) end

-- Books the cost of a call whose end is `ending` and was `known` before (false: not known). Returns the difference from
-- what was booked for it. A call whose cost is not known is counted in the group and the flow of its job.
local function book(job, id, call, nano, known, ending)
  local before = 0
  if job and not job.deleted then
    before = cost_of(known)
    if not known and ending and string.find(ending, '"is_unpriced":true', 1, true) then
      if job.group then redis.call('HINCRBY', group_key(job.group), 'unpriced_calls', 1) end
      add_to_flow(job, 'unpriced_calls', 1)
    end
  else
    local v = redis.call('HMGET', booked_key(id), call, 'accounts')
    before = tonumber(v[1] or 0)
    job = { accounts = v[2] }
    if before ~= nano then
      redis.call('HSET', booked_key(id), call, ms(nano))
      redis.call('PEXPIRE', booked_key(id), BOOKED_MS)
    end
  end
  spend(nano - before, job)
  return nano - before
end

-- Adds to the cost in the job's record and in its group.
local function add_cost(job, nano, is_estimate)
  if nano == 0 and not is_estimate then return end
  job.paid = job.paid + nano
  redis.call('HSET', job_key(job.id), 'paid_nano', ms(job.paid))
  if is_estimate then redis.call('HSET', job_key(job.id), 'cost_is_estimate', '1') end
  if is_terminal(job.status) then
    redis.call('HSET', job_key(job.id), 'cost_usd', to_usd(job.paid))
    -- The history may have the job without this cost.
    if keeps_history then put(root .. ':history', ms(now), job.id) end
  end
  if job.group then redis.call('HINCRBY', group_key(job.group), 'cost_nano', ms(nano)) end
  add_to_flow(job, 'cost_nano', nano)
end

-- The place of a job that create.lua has started ends with this until its worker renews it. A renewal sets a time in
-- whole ms.
local UNTOUCHED = '.5'
-- The end of such a call after its place has ended.
local UNREAD_END = '{"outcome":"lost","ambiguous":true}'

-- Whether the place of a started job was never renewed. Then its worker has not heard of it, has begun less than a
-- third of a lease ago, or has died within that time.
local function is_untouched(job)
  local at = score_of(root .. ':outbox', job.id .. '-' .. job.entries)
  return at and string.sub(at, -2) == UNTOUCHED
end

-- For a job that is given up while its call is under way. The cost is unknown until its worker reports it, and the
-- worker may be dead. Until then the reserved amount is booked, unless the call was perhaps never sent.
local function book_unknown(job)
  if job.status ~= 'running' or not job.reserved or is_untouched(job) then return end
  local ending = '{"cost_usd":' .. to_usd(job.reserved) .. ',"cost_is_estimate":true}'
  if redis.call('HSETNX', job_key(job.id) .. ':attempts', job.calls .. ':end', ending) == 0 then return end
  spend(job.reserved, job)
  add_cost(job, job.reserved, true)
end

-- Takes from the bucket of one minute's submissions, which starts full and refills continuously. Returns the ms until
-- there is room; 0: it is taken.
local function take_submission(rate)
  local bucket = redis.call('HMGET', root .. ':submissions', 'level', 'at')
  local level = math.min(rate, tonumber(bucket[1] or rate) + math.max(0, now - tonumber(bucket[2] or now)) * rate / 60000)
  if level < 1 then return math.ceil((1 - level) * 60000 / rate) end
  redis.call('HSET', root .. ':submissions', 'level', string.format('%.17g', level - 1), 'at', ms(now))
  return 0
end

-- Limits of fair keys ---------------------------------------------------------------------------------------
-- If a tenant limits its fair keys (`per_fair_key`), the record of its job has `fair`, the digest of the job's key.
-- `fair-key:<digest>` counts the key's jobs: `open`; `running`; with an entry in a lane's queue (`q:<lane>`); and
-- parked (`p:<lane>`). Parked jobs have no entry, and are in `fair-key:<digest>:<lane>` by the time of their turns.
-- `fair_turn` in the record says where the job counts. The hash also has the limits from the latest job, and `level` at
-- `at` of the bucket of a minute's calls, which refills continuously.
-- Invariants: a lane has parked jobs of a key only while a job of the key has an entry in that lane's queue, or as many
-- run as may. The step that ends this releases the next ones. So no job is looked at before its turn, no matter how
-- many wait. Jobs for provider batches and followers of equal jobs are never parked. A key without open jobs is
-- forgotten as soon as its bucket is full.

local fair = { known = {}, released = {}, left = 100 }
-- `high` goes before `normal` and `low` for as long as in a lane's queue (see docs/rate-limits.md).
fair.LATER_MS = { normal = 600000, low = 3600000 }

function fair.key(digest) return root .. ':fair-key:' .. digest end

function fair.read(digest)
  local one = fair.known[digest]
  if one then return one end
  one = { key = fair.key(digest), fields = {}, changed = {} }
  local v = redis.call('HGETALL', one.key)
  for i = 1, #v, 2 do one.fields[v[i]] = tonumber(v[i + 1]) end
  one.is_new = #v == 0
  fair.known[digest] = one
  return one
end

function fair.set(one, field, value)
  if one.fields[field] == value then return end
  one.fields[field] = value
  one.changed[field] = true
end

function fair.add(one, field, by)
  fair.set(one, field, math.max(0, (one.fields[field] or 0) + by))
  if string.sub(field, 1, 2) == 'p:' then add_to_sum(root .. ':fair-keys:parked', by) end
end

-- `limits`: most running jobs and calls a minute, each '-' for no limit; '' for none at all.
function fair.limit(one, limits)
  local running, rate = string.match(limits, '^(%S+) (%S+)')
  fair.set(one, 'max_running', tonumber(running or nil))
  fair.set(one, 'rate', tonumber(rate or nil))
  if not one.fields.rate then
    fair.set(one, 'level', nil)
    fair.set(one, 'at', nil)
  end
end

-- How many calls may begin now; nil: any number.
function fair.level(one)
  local f = one.fields
  if not f.rate then return nil end
  return math.min(f.rate, (f.level or f.rate) + math.max(0, now - (f.at or now)) * f.rate / 60000)
end

-- The earliest time at which a new job may begin by its key's calls a minute. Jobs of its lane that go before it come
-- first.
function fair.earliest(digest, lane, priority)
  local one = fair.read(digest)
  local level, ahead = fair.level(one), one.fields['q:' .. lane] or 0
  if not level then return now end
  if (one.fields['p:' .. lane] or 0) > 0 then
    ahead = ahead + redis.call('ZCOUNT', fair.key(digest) .. ':' .. lane, '-inf', ms(now + (fair.LATER_MS[priority] or 0)))
  end
  return now + math.ceil(math.max(0, ahead + 1 - level) * 60000 / one.fields.rate)
end

-- How many more entries the key may have in the lane's queue.
function fair.room(one, lane)
  local f, room = one.fields, math.huge
  local queued = f['q:' .. lane] or 0
  if f.max_running then room = f.max_running - (f.running or 0) - queued end
  local level = fair.level(one)
  if level then room = math.min(room, math.max(1, math.floor(level)) - queued) end
  return room
end

-- From now on the job counts as open only.
function fair.free(job)
  local turn = job.fair_turn
  if not turn then return end
  local one, lane = fair.read(job.fair), string.match(turn, '^p:(.*)$')
  fair.add(one, turn, -1)
  if lane then redis.call('ZREM', one.key .. ':' .. lane, job.id) end
  redis.call('HDEL', job_key(job.id), 'fair_turn', lane and 'waiting_for' or 'fair_turn')
  job.fair_turn = nil
end

-- `fields`: fields of a record that the caller writes afterwards. Without them, this function writes the record.
function fair.hold(job, turn, fields)
  local set = fields or {}
  fair.free(job)
  fair.add(fair.read(job.fair), turn, 1)
  job.fair_turn = turn
  set[#set + 1], set[#set + 2] = 'fair_turn', turn
  if string.sub(turn, 1, 2) == 'p:' then set[#set + 1], set[#set + 2] = 'waiting_for', 'fair_key' end
  if not fields then redis.call('HSET', job_key(job.id), unpack(set)) end
end

function fair.park(job, fields)
  local lane, priority = job.lane, job.priority
  if not lane then lane, priority = unpack(redis.call('HMGET', job_key(job.id), 'lane', 'priority')) end
  fair.hold(job, 'p:' .. lane, fields)
  local at = (job.ready_at or now) + (fair.LATER_MS[priority] or 0)
  redis.call('ZADD', fair.key(job.fair) .. ':' .. lane, ms(at), job.id)
end

-- Asks for an entry for the job in its lane's queue. False: the job is parked.
function fair.join(job, fields)
  fair.free(job)
  local one, lane = fair.read(job.fair), job.lane or redis.call('HGET', job_key(job.id), 'lane')
  local level, queued = fair.level(one), one.fields['q:' .. lane] or 0
  if (one.fields['p:' .. lane] or 0) > 0 or fair.room(one, lane) < 1 or (level and level < queued + 1) then
    fair.park(job, fields)
    return false
  end
  fair.hold(job, 'q:' .. lane, fields)
  return true
end

function fair.may_start(job)
  local one = fair.read(job.fair)
  local level = fair.level(one)
  -- Without this margin, a job that is due by a rounded time would be refused.
  if level and level < 1 - one.fields.rate / 60000 then return false end
  return not one.fields.max_running or (one.fields.running or 0) < one.fields.max_running
end

function fair.start(job, fields)
  local one = fair.read(job.fair)
  local level = fair.level(one)
  fair.hold(job, 'running', fields)
  if not level then return end
  fair.set(one, 'level', math.max(0, level - 1))
  fair.set(one, 'at', now)
end

function fair.index(job, from, to)
  local function is_open(status) return status ~= nil and status ~= false and not is_terminal(status) end
  if is_open(from) ~= is_open(to) then fair.add(fair.read(job.fair), 'open', is_open(to) and 1 or -1) end
  if from and to ~= 'running' then fair.free(job) end
end

-- Gives as many parked jobs their entries as may have one now.
function fair.release_lane(one, lane)
  -- At least one for each key and lane, because nothing else would release the others.
  local room = math.min(fair.room(one, lane), math.max(fair.left, 1))
  if room < 1 then return end
  local popped = redis.call('ZPOPMIN', one.key .. ':' .. lane, room)
  for i = 1, #popped, 2 do
    local job = load(popped[i])
    if job and job.fair_turn == 'p:' .. lane then
      local level, queued = fair.level(one), one.fields['q:' .. lane] or 0
      job.entries = job.entries + 1
      local set = { 'entries', job.entries }
      fair.hold(job, 'q:' .. lane, set)
      if level and level < queued + 1 then
        local at = ms(now + math.ceil((queued + 1 - level) * 60000 / one.fields.rate))
        for _, value in ipairs({ 'ready_at', at, 'next_attempt_at', at, 'waiting_for', 'fair_key' }) do set[#set + 1] = value end
      end
      redis.call('HSET', job_key(job.id), unpack(set))
      put(root .. ':outbox', ms(now), job.id .. '-' .. job.entries)
      fair.left = fair.left - 1
      fair.released[#fair.released + 1] = job.id
    end
  end
  if #popped < 2 * room then fair.add(one, 'p:' .. lane, -(one.fields['p:' .. lane] or 0)) end
end

function fair.write(one)
  local set, gone, f = {}, {}, one.fields
  for field in pairs(one.changed) do
    -- A count of 0 is removed. A level of 0 stays, because a bucket without a level is full.
    if not f[field] or (f[field] == 0 and field ~= 'level') then gone[#gone + 1] = field else
      set[#set + 1] = field
      set[#set + 1] = string.format('%.17g', f[field])
    end
  end
  local is_idle = (f.open or 0) == 0
  if is_idle and not (f.rate and fair.level(one) < f.rate) then
    if not one.is_new then redis.call('DEL', one.key) end
    return
  end
  if #gone > 0 and not one.is_new then redis.call('HDEL', one.key, unpack(gone)) end
  if #set > 0 then redis.call('HSET', one.key, unpack(set)) end
  if is_idle then redis.call('PEXPIRE', one.key, 60000) elseif one.changed.open and not one.is_new then redis.call('PERSIST', one.key) end
end

-- Runs at the end of each script, before the gathered writes.
local function write_fair_keys()
  for _, one in pairs(fair.known) do
    local lanes = {}
    for field, count in pairs(one.fields) do
      local lane = string.match(field, '^p:(.*)$')
      if lane and count > 0 then lanes[#lanes + 1] = lane end
    end
    table.sort(lanes)
    for _, lane in ipairs(lanes) do fair.release_lane(one, lane) end
  end
  for _, one in pairs(fair.known) do fair.write(one) end
end

-- The script's answer, with the ids of the jobs that it released; scripts.ts reads them.
local function with_released(answer)
  if #fair.released == 0 then return answer end
  return { 'released', table.concat(fair.released, ' '), answer }
end

-- Indexes ---------------------------------------------------------------------------------------------------

-- Counts the scheduled jobs by lane. The record names the lane that counted it.
local function count_scheduled(job, by)
  local counts, lane = root .. ':scheduled-lanes', nil
  if by > 0 then
    lane = redis.call('HGET', job_key(job.id), 'lane')
    redis.call('HSET', job_key(job.id), 'scheduled_lane', lane)
  else
    lane = redis.call('HGET', job_key(job.id), 'scheduled_lane')
    if not lane then return end
    redis.call('HDEL', job_key(job.id), 'scheduled_lane')
  end
  if redis.call('HINCRBY', counts, lane, by) <= 0 then redis.call('HDEL', counts, lane) end
end

-- How many open jobs there were before the script (nil until it is asked for), and how many the script adds.
local open_before, opened = nil, 0
local function is_open_status(status) return status ~= nil and status ~= false and not is_terminal(status) end

-- Moves the job between the status indexes and the counts of its group. The caller writes `to` to the record.
local function index(job, to)
  local from = job.status
  if from == to then return end
  if to == 'scheduled' then count_scheduled(job, 1) elseif from == 'scheduled' then count_scheduled(job, -1) end
  if from then
    take_out(root .. ':status:' .. from, job.id)
    if job.group then redis.call('HINCRBY', group_key(job.group), from, -1) end
  end
  put(root .. ':status:' .. to, job.created_at, job.id)
  if job.fair then fair.index(job, from, to) end
  if is_open_status(from) ~= is_open_status(to) then opened = opened + (is_open_status(to) and 1 or -1) end
  if job.group then
    redis.call('HINCRBY', group_key(job.group), to, 1)
    put(root .. ':groups', ms(now), job.group)
  end
  job.status = to
end

local function open_jobs()
  open_before = open_before or redis.call('ZCARD', root .. ':status:queued') + redis.call('ZCARD', root .. ':status:scheduled')
    + redis.call('ZCARD', root .. ':status:running')
  return open_before + opened
end

-- Writes the delivery of a terminal event to the webhook outbox. webhooks/store.ts describes its layout.
local function deliver(job, event, seq)
  if not job.webhook then return end
  local target = cjson.decode(job.webhook)
  local wanted = false
  for _, name in ipairs(target.events) do wanted = wanted or name == event end
  if not wanted then return end
  local origin = redis.call('HMGET', job_key(job.id), 'lane', 'request_id', 'trace')
  local delivery = 'whd_' .. string.gsub(job.id, '^job_', '') .. '_' .. seq
  redis.call('HSET', root .. ':delivery:' .. delivery, 'id', delivery, 'job_id', job.id, 'event', event,
    'url', target.url, 'status', 'pending', 'created_at', ms(now), 'next_attempt_at', ms(now),
    'attempts', '[]', 'attempt_count', '0', 'lane', origin[1] or '', 'request_id', origin[2] or '', 'trace', origin[3] or '')
  redis.call('RPUSH', job_key(job.id) .. ':deliveries', delivery)
  redis.call('ZADD', root .. ':webhooks', ms(now), delivery)
  redis.call('PUBLISH', root .. ':webhooks:wake', delivery)
end

-- Writes how a call ended. Returns the end that was written before, or false. A call that was given up as lost may
-- still come back after the job was called again. It keeps its `ambiguous` flag, because the job was then paid twice.
local function end_attempt(id, call, outcome)
  local key = job_key(id) .. ':attempts'
  if redis.call('HSETNX', key, call .. ':end', outcome) == 1 then return false end
  local known = redis.call('HGET', key, call .. ':end')
  -- Of two equal members, JSON readers take the last.
  if known and string.find(known, '"ambiguous":true', 1, true) then
    outcome = string.gsub(outcome, '}$', ',"ambiguous":true}')
  end
  redis.call('HSET', key, call .. ':end', outcome)
  return known
end

-- Answers ---------------------------------------------------------------------------------------------------
-- An answer that is cached, or that several jobs share, is stored once, in a hash at its content's key. Fields: `by`
-- (its name, made of the job and the call that bought it), `usage`, `holders` (how many completed records refer to it,
-- by `hash` and `answer`), `until` (the time until which it is cached for equal jobs, ms; 0: not any more). Its bytes
-- are in `text`, or in `large` if they are more than LONGEST_TEXT, so that scripts that read `text` move no large
-- answer.
-- A newer answer takes over the content's key. An older one that has holders moves to a key that ends with its name.
-- jobs/answer-store.ts reads both. An answer of only one job is in its record (`result`), and so is every answer of
-- earlier releases.
-- Invariants: a completed record with `answer` counts once among the holders of that answer, until the record is
-- deleted. An answer with holders has no time to live. An answer without holders lives until `until`, and is deleted if
-- that is over.

local LONGEST_TEXT = 65536

-- Files that jobs hold: bytes of answers, and uploads that came with a request. A record names its own files in
-- `files`, and an answer names those that it consists of. `files:unheld` has every file that nothing holds, by the time
-- at which it is removed (ms). A file is there before it is written, so that a crash leaves none for ever.
-- files/held-files.ts writes and removes files.
-- Invariant: a file of a job is held by a record or by an answer with holders, or it is in `files:unheld`.

local function unheld_key() return root .. ':files:unheld' end
local function hold_files(files)
  for id in string.gmatch(files or '', '%S+') do take_out(unheld_key(), id) end
end
local function let_files_go(files, at)
  for id in string.gmatch(files or '', '%S+') do put(unheld_key(), ms(at), id) end
end
-- Files are removed this long after their answer has ended, ms. By then no reader is given that answer any more.
local UNHELD_GRACE_MS = 60000

-- The name does not reveal the job, because an answer may outlive the job that bought it.
local function answer_name(id, call) return string.sub(redis.sha1hex(id .. '-' .. call), 1, 16) end

-- The key of an answer by its name, or nil.
local function find_answer(hash, by)
  local key = answer_key(hash)
  if redis.call('HGET', key, 'by') == by then return key end
  key = answer_key(hash, by)
  return redis.call('EXISTS', key) == 1 and key or nil
end

-- Moves an answer away from its content's key. Its holders keep it, and equal jobs no longer get it.
local function set_aside(hash, by, holders)
  local key = answer_key(hash)
  if tonumber(holders or 0) > 0 then
    redis.call('HSET', answer_key(hash, by), unpack(redis.call('HGETALL', key)))
    redis.call('HSET', answer_key(hash, by), 'until', '0')
  else
    let_files_go(redis.call('HGET', key, 'files'), now)
  end
  redis.call('DEL', key)
end

-- Stores a new answer with its holders, cached for `ttl` ms. It must have one or the other, and its name must be new.
-- `files`: the files that it consists of, or nil.
local function put_answer(hash, by, result, usage, ttl, holders, files)
  local key = answer_key(hash, ttl <= 0 and by or nil)
  if ttl > 0 then
    local standing = unanswered[hash] and {} or redis.call('HMGET', key, 'by', 'holders')
    if standing[1] then set_aside(hash, standing[1], standing[2]) end
  end
  unanswered[hash] = nil
  redis.call('HSET', key, 'by', by, 'holders', ms(holders), 'until', ms(ttl > 0 and now + ttl or 0), 'usage', usage,
    #result <= LONGEST_TEXT and 'text' or 'large', result)
  if files then redis.call('HSET', key, 'files', files) end
  if holders == 0 then redis.call('PEXPIREAT', key, ms(now + ttl)) end
  if holders > 0 then hold_files(files) else let_files_go(files, now + ttl + UNHELD_GRACE_MS) end
end

-- `count` more records refer to the answer at this key.
local function add_holders(key, count)
  if count == 0 then return end
  local held = redis.call('HINCRBY', key, 'holders', count)
  if held > count then return end
  redis.call('PERSIST', key)
  hold_files(redis.call('HGET', key, 'files'))
end

-- Takes over an answer that an earlier release cached.
local function adopt_old(hash, by)
  local old = old_cache_key(hash)
  local v = redis.call('HMGET', old, 'result', 'usage')
  if not v[1] then return nil end
  local ttl = math.max(1, redis.call('PTTL', old))
  put_answer(hash, by, v[1], v[2] or '', ttl, 0)
  redis.call('DEL', old)
  return { by = by, usage = v[2] or '', text = #v[1] <= LONGEST_TEXT and v[1] }
end

-- The cached answer for jobs of this content, or nil. `text` is false if the answer is large. `id`: the job that asks.
local function kept_answer(hash, id)
  local v = redis.call('HMGET', answer_key(hash), 'by', 'until', 'usage', 'text')
  if v[1] and tonumber(v[2]) > now then return { by = v[1], usage = v[3], text = v[4] } end
  return adopt_old(hash, answer_name(id, 0))
end

local function is_kept(hash)
  return tonumber(redis.call('HGET', answer_key(hash), 'until') or 0) > now or redis.call('EXISTS', old_cache_key(hash)) == 1
end

-- New equal jobs no longer get the answer. Jobs that have it keep it.
local function forget_kept(hash)
  redis.call('DEL', old_cache_key(hash))
  local holders = redis.call('HGET', answer_key(hash), 'holders')
  if not holders then return end
  if tonumber(holders) > 0 then
    redis.call('HSET', answer_key(hash), 'until', '0')
  else
    let_files_go(redis.call('HGET', answer_key(hash), 'files'), now)
    redis.call('UNLINK', answer_key(hash))
  end
end

-- The job's record is being deleted, so its answer loses a holder. Returns the key of an answer without holders, or
-- nil.
local function drop_answer(job)
  if not job.answer then return nil end
  local key = answer_key(job.hash)
  local v = redis.call('HMGET', key, 'by', 'holders', 'until', 'files')
  if v[1] ~= job.answer then
    key = answer_key(job.hash, job.answer)
    v = redis.call('HMGET', key, 'by', 'holders', 'until', 'files')
    if not v[1] then return nil end
  end
  local is_last, kept_until = tonumber(v[2]) <= 1, tonumber(v[3])
  if is_last then let_files_go(v[4], kept_until <= now and now or kept_until + UNHELD_GRACE_MS) end
  if is_last and kept_until <= now then return key end
  redis.call('HINCRBY', key, 'holders', -1)
  if is_last then redis.call('PEXPIREAT', key, ms(kept_until)) end
end

-- The fields of a record whose answer another job bought.
local function free_fields(answer, cache)
  return { 'answer', answer.by, 'usage', answer.usage or '', 'cost_usd', '0', 'cache', cache }
end

-- Tells the process whose client waits for the job how the job ended, so that it need not read the job.
-- jobs/reply-inbox.ts gets the message. The process reads a large answer itself, because Redis holds messages in memory
-- until they are read. `text`: the answer; false if it is large; nil if the job has none.
local function reply(job, status, seq, text)
  local v = redis.call('HMGET', job_key(job.id), 'lane', 'started_at', 'attempts', 'cache', 'usage', 'cost_usd', 'error',
    'cost_is_estimate')
  if v[8] then v[6] = (v[6] or '') .. '~' end
  local whole = text ~= false
  redis.call('PUBLISH', job.reply, table.concat({ job.id, whole and status or '', seq, ms(now), v[1], v[2] or '', v[3] or '0', v[4] or '',
    v[5] or '', v[6] or '', v[7] or '', text or '' }, '\n'))
end

-- Fields that only a job needs that may run again. A completed job does not, and `create.lua` leaves them out if it
-- makes one.
local ONLY_TO_RUN = { 'cost', 'estimate', 'ready_at', 'timeout_ms', 'cache_mode', 'entries', 'flex' }

-- What follows the terminal event of a job, its `seq`-th: webhook outbox, retention and its flow. `fields`: the fields
-- of the end.
local function follow_end(job, status, seq, retain, fields)
  deliver(job, 'job.' .. status, seq)
  put(root .. ':expiry', ms(now + retain), job.id)
  if keeps_history then put(root .. ':history', ms(now), job.id) end
  if job.flow then
    local usage
    for i = 1, #(fields or {}), 2 do if fields[i] == 'usage' then usage = fields[i + 1] end end
    tell_flow(job, status, usage)
  end
end

-- Ends a job: record, indexes, event, webhook outbox and retention in one step. `fields`: further record fields (flat
-- list). `members`: further event members. `text`: as in `reply`. The caller has already counted the job among the
-- holders of its answer.
local function finish(job, status, retain, fields, members, text)
  if not job.deleted then
    local set = { 'status', status, 'finished_at', ms(now), unpack(fields or {}) }
    if job.paid > 0 then set[#set + 1], set[#set + 2] = 'cost_usd', to_usd(job.paid) end
    redis.call('HSET', job_key(job.id), unpack(set))
    local gone = { 'next_attempt_at', 'waiting_for', 'leader', unpack(status == 'completed' and ONLY_TO_RUN or {}) }
    -- The claim says to whom a carrying call belongs, so it stays.
    if not job.carrying then gone[#gone + 1] = 'claim' end
    release(job, gone)
    redis.call('HDEL', job_key(job.id), unpack(gone))
    index(job, status)
    local seq = emit(job, 'job.' .. status, members)
    follow_end(job, status, seq, retain, fields)
    if job.reply then reply(job, status, seq, text) end
  end
  release(job)
  -- If the worker of a carrying call dies, the call's place in the outbox leads to it.
  if not job.carrying then take_out(root .. ':outbox', job.id .. '-' .. job.entries) end
  if job.deadline > 0 then take_out(root .. ':deadlines', job.id) end
end

-- The latest time until which a job may wait for a slower, cheaper way than a call at standard, Unix ms; 0: it does not
-- wait. `gather`: in the form of jobs/gather-plan.ts. `flex`: Unix ms, or `+` and ms from the job's creation on.
local FOR_EVER = 9e15
local function patience_of(job)
  if job.gather then
    local leave_at = tonumber(string.match(job.gather, '^%d+'))
    return leave_at == 0 and FOR_EVER or math.max(leave_at, now + 1)
  end
  if not job.flex then return 0 end
  local till = tonumber(job.flex)
  if string.sub(job.flex, 1, 1) == '+' then till = till + tonumber(job.created_at) end
  return till > now and till or 0
end

-- The id of the job whose call serves this content, or nil. A leader that was cancelled during its call still serves
-- its followers (`carrying`). The job `own` is open. Second value: whether a job with this much patience joins it. A
-- job without patience does not wait for a leader that is parked for a fair key other than `own_fair`.
local function leader_of(hash, own, patience, own_fair)
  local id = flight_of(hash)
  if not id then return nil end
  if id == own then return id end
  local v = redis.call('HMGET', job_key(id), 'status', 'carrying', 'gather', 'flex', 'created_at', 'fair', 'fair_turn')
  if v[1] and (v[2] or not is_terminal(v[1])) then
    local waits_till = patience_of({ gather = v[3], flex = v[4], created_at = v[5] })
    local is_parked = v[7] and string.sub(v[7], 1, 2) == 'p:' and v[6] ~= own_fair
    if is_parked and patience == 0 then return id, false end
    -- A call at flex that is under way is over soon. Only a job that does not wait at all gets a call of its own beside
    -- it.
    local is_called = not v[3] and v[1] == 'running'
    return id, patience >= waits_till or is_called and patience > 0
  end
  end_flight(hash)
  return nil
end

-- A job with less patience takes the flight over from a leader that waits for a slower, cheaper way, or is parked. That
-- leader becomes its follower. If it waits, it needs no entry from then on. If it was sent, it keeps its place, and the
-- answer that comes first ends it.
local function overtake(hash, leader_id, own)
  local leader = load(leader_id, true)
  set_flight(hash, own)
  if leader.carrying and is_terminal(leader.status) then
    take_out(root .. ':outbox', leader_id .. '-' .. leader.entries)
    redis.call('HDEL', job_key(leader_id), 'carrying', 'claim')
    if leader.deleted then redis.call('DEL', job_key(leader_id)) end
    return
  end
  redis.call('ZADD', followers_key(hash), leader.created_at, leader_id)
  if leader.status == 'running' then return end
  if leader.fair then fair.free(leader) end
  redis.call('HSET', job_key(leader_id), 'leader', own)
  take_out(root .. ':outbox', leader_id .. '-' .. leader.entries)
  release(leader)
end

-- Decides how a due job gets its answer: 'hit' (with the cached answer, of which it becomes a holder), 'follow' (with
-- the leader's id), or 'lead'. `is_new`: it leads nothing yet. `patience`: from `patience_of`. `own_fair`: the digest
-- of its fair key, if fair keys have limits.
local function claim(id, hash, cache_mode, is_new, patience, own_fair)
  if cache_mode == 'off' then return 'lead' end
  -- Usually all of these keys are missing.
  local is_known = false
  if not unanswered[hash] then
    local places = { answer_key(hash), old_cache_key(hash) }
    if is_new then places[3] = flight_key(hash) end
    is_known = redis.call('EXISTS', unpack(places)) > 0
  end
  if is_known and cache_mode == 'use' then
    local kept = kept_answer(hash, id)
    if kept then
      add_holders(answer_key(hash), 1)
      return 'hit', kept
    end
  end
  local leader, goes_along = nil, false
  if is_known or not is_new or flights[hash] then leader, goes_along = leader_of(hash, id, patience, own_fair) end
  if not leader then
    set_flight(hash, id)
  elseif leader == id then
    return 'lead'
  elseif cache_mode == 'use' then
    if goes_along then return 'follow', leader end
    overtake(hash, leader, id)
  end
  return 'lead'
end

-- Makes the job wait for the leader's answer. It needs no queue entry.
local function follow(job, leader)
  if job.fair then fair.free(job) end
  redis.call('HSET', job_key(job.id), 'leader', leader, 'cache', 'shared')
  redis.call('ZADD', followers_key(job.hash), job.created_at, job.id)
  release(job)
end

-- The maintainer queues an outbox entry of this age, because by then its writer should have queued it. The same as in
-- jobs/leases.ts.
local OUTBOX_GRACE_MS = 2000

-- Asks for a queue entry: the outbox holds `<id>-<entry number>` until the entry is in the lane's queue. The number
-- tells a job's entries apart, so that an entry from before a cancel or a promotion is known as stale. `run_at`: of a
-- scheduled job, which only the maintainer queues, at that time. `fields`: fields of a record that the caller writes
-- afterwards; without them, this function writes the record. False: the job is parked (see Limits of fair keys).
local function request_entry(job, run_at, fields)
  local set = fields or {}
  job.entries = job.entries + 1
  set[#set + 1], set[#set + 2] = 'entries', job.entries
  reserve(job, set)
  local is_queued = run_at ~= nil or not job.fair or job.gather or fair.join(job, set)
  if not fields then redis.call('HSET', job_key(job.id), unpack(set)) end
  if not is_queued then return false end
  put(root .. ':outbox', ms(run_at and run_at - OUTBOX_GRACE_MS or now), job.id .. '-' .. job.entries)
  return true
end

-- Makes the oldest follower that still waits the leader of the content's flight; nil if there is none. The new leader
-- is in the outbox until it is in the queue.
local function promote(hash)
  while true do
    local popped = redis.call('ZPOPMIN', followers_key(hash))
    if #popped == 0 then
      end_flight(hash)
      return nil
    end
    local follower = load(popped[1])
    if follower and not is_terminal(follower.status) then
      set_flight(hash, follower.id)
      redis.call('HSET', job_key(follower.id), 'cache', 'miss')
      redis.call('HDEL', job_key(follower.id), 'leader')
      -- This follower is in a provider batch already. The batch answers it, and now also those that follow it.
      if follower.status == 'running' then return nil end
      request_entry(follower)
      return follower.id
    end
  end
end

-- The next followers to end with their leader, as many as this call may still end. Deleted and ended ones are left out.
-- If the leader `failed`, a follower that is in a provider batch is left out too, because the batch may still answer
-- it.
local function pop_followers(hash, failed)
  local popped, followers = redis.call('ZPOPMIN', followers_key(hash), followers_left), {}
  for i = 1, #popped, 2 do
    local follower = load(popped[i])
    local ends = follower and not is_terminal(follower.status) and not (failed and follower.status == 'running')
    if ends then followers[#followers + 1] = follower end
  end
  followers.may_be_more = #popped >= 2 * followers_left
  followers_left = followers_left - #popped / 2
  return followers
end

-- Ends followers with the leader's outcome, and returns how many are left. The flight stays until the last one is
-- served, so that after a crash the sweep finds the others (`draining`).
local function finish_followers(hash, followers, status, retain, fields, members, text)
  for _, follower in ipairs(followers) do finish(follower, status, retain, fields, members, text) end
  if not followers.may_be_more then return 0 end
  return redis.call('ZCARD', followers_key(hash))
end

-- Ends the next followers with a stored answer, of which they become holders. Returns how many are left.
local function share_answer(hash, followers, answer, retain)
  if #followers > 0 then add_holders(find_answer(hash, answer.by), #followers) end
  return finish_followers(hash, followers, 'completed', retain, free_fields(answer, 'shared'), nil, answer.text)
end

-- Takes a cancelled, expired or deleted job out of its flight. Returns the id of the new leader, '' if there is none. A
-- running leader with followers keeps its call (`carrying`).
local function leave_flight(job, was)
  if job.leader then
    redis.call('ZREM', followers_key(job.hash), job.id)
    return ''
  end
  if flight_of(job.hash) ~= job.id then return '' end
  if was == 'running' then
    if redis.call('ZCARD', followers_key(job.hash)) > 0 then
      redis.call('HSET', job_key(job.id), 'carrying', '1')
      job.carrying = '1'
    else
      end_flight(job.hash)
    end
    return ''
  end
  return promote(job.hash) or ''
end

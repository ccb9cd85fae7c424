-- References to all events of a tenant, in the order in which the events happened. This code is put around the scripts that write events.
--
-- KEYS[1] is the tenant's root. `<root>:events` is a stream whose entries hold pairs: the id of a job (or of another thing with a list of
-- events), and `<seq> <name of the event>`. It holds no content: readers get that from the list `<root>:…:<id>:events`.
-- `<root>:events:deltas` is the same for chunks of streams, of which there are many: `<seq of the first> <count>`.
--
-- Invariants: a reference is written in the same step as its event, so that a reader neither misses one nor gets one twice. Several events
-- of one step share an entry, up to PER_ENTRY of them, so that the step needs only one more command.

-- Minimum of entries to keep, and maximum of references in one entry. events/retention.ts removes those older than a day.
local MOST_REFERENCES = 100000
local PER_ENTRY = 10

-- Whether somebody follows the events, and the chunks as well: see lib/script-keys.ts.
local are_deltas_followed = string.find(KEYS[2], ':followed:deltas', #KEYS[1], true) ~= nil
local is_followed = string.find(KEYS[2], ':followed', #KEYS[1], true) ~= nil
-- Whether ended jobs are copied to the history.
local keeps_history = string.sub(KEYS[2], -8) == ':history'
local held_references = {}

-- Turns an error that a pcall caught into an answer that begins with its code (OOM, NOREPLICAS, READONLY). Thrown again it would begin with
-- ERR, and callers could not tell that Redis accepts no writes. Older servers put a location and a dash before the code.
local function failure_of(caught)
  local text = type(caught) == 'table' and caught.err or tostring(caught)
  text = string.match(text, '^@?user_script: ?%d+: %-?(%u+ .*)$') or text
  return { err = string.match(text, '^%u+ ') and text or 'ERR ' .. text }
end

-- A write at the end of a script. If it fails, the other writes still happen, and then the script answers with the first failure. So a key
-- that cannot be written costs no job its place in the outbox.
local failed_write = nil
local function write_last(...)
  local answer = redis.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  failed_write = failed_write or answer
end

-- Refers to an event that was just written: the `seq`-th of `id`. `event` is its name: `job.queued`.
local function refer(id, seq, event)
  held_references[#held_references + 1] = id
  held_references[#held_references + 1] = string.format('%d %s', seq, event)
end

-- Called at the end of the script.
local function write_references()
  for first = 1, #held_references, 2 * PER_ENTRY do
    local last = math.min(first + 2 * PER_ENTRY - 1, #held_references)
    write_last('XADD', KEYS[1] .. ':events', 'MAXLEN', '~', MOST_REFERENCES, '*', unpack(held_references, first, last))
  end
  if is_followed and #held_references > 0 then redis.call('PUBLISH', KEYS[1] .. ':live:events', '') end
end

-- Refers to chunks of a stream that were just written, from the `seq`-th event of `id` on.
local function refer_to_deltas(id, seq, count)
  redis.call('XADD', KEYS[1] .. ':events:deltas', 'MAXLEN', '~', MOST_REFERENCES, '*', id, string.format('%d %d', seq, count))
  if are_deltas_followed then redis.call('PUBLISH', KEYS[1] .. ':live:events', '') end
end

-- Reads references to a tenant's events and to chunks of streams, both at the same moment.
--
-- KEYS[1] is the tenant's root. ARGV  1 entry to begin with, '-': the first  2 most entries
--       3 like 1, among the chunks ('': without chunks)
-- Answer {entries, entries of chunks, 1 if entries after one of the places are no longer kept, else 0}, as XRANGE returns them
-- Invariant: an answer that begins with the requested entry misses none after it, because entries are deleted from the beginning.

local function is_before(a, b)
  local a_ms, a_n = string.match(a, '^(%d+)%-(%d+)$')
  local b_ms, b_n = string.match(b, '^(%d+)%-(%d+)$')
  a_ms, b_ms = tonumber(a_ms), tonumber(b_ms)
  if a_ms ~= b_ms then return a_ms < b_ms end
  return tonumber(a_n) < tonumber(b_n)
end

local function is_expired(key, from, first)
  local reply = redis.pcall('XINFO', 'STREAM', key)
  -- There is no stream: no event was written yet, or none since the store was emptied.
  if reply.err then return false end
  local info = {}
  for i = 1, #reply, 2 do info[reply[i]] = reply[i + 1] end
  if info['entries-added'] and info['entries-added'] <= info.length then return false end
  if info.length == 0 then return is_before(from, info['last-generated-id']) end
  return first ~= nil and info['first-entry'][1] == first
end

local function read(name, from)
  local key = KEYS[1] .. name
  local entries = redis.call('XRANGE', key, from, '+', 'COUNT', ARGV[2])
  local first = entries[1] and entries[1][1]
  return entries, from ~= '-' and first ~= from and is_expired(key, from, first)
end

local events, lost = read(':events', ARGV[1])
local deltas, lost_deltas = {}, false
if ARGV[3] ~= '' then deltas, lost_deltas = read(':events:deltas', ARGV[3]) end
return { events, deltas, (lost or lost_deltas) and 1 or 0 }

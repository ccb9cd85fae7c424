-- Leases due deliveries: each is due again when its lease ends, unless its outcome was recorded.
--
-- KEYS  1 the tenant's root
-- ARGV  1 lease ms  2 most deliveries to claim  3 due entries to skip  4 due entries to look at
--       5 most simultaneous deliveries for one host  6… host, its current number
-- Answer {now ms, ms until the next delivery that is not due yet or '',
--         '1' when more may be due after those looked at, number of due deliveries that were not claimed,
--         {host, claim number, field, value, …} …}; numbers are text
-- Invariant: two calls never return the same delivery within one lease.

local root = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = string.format('%d', now)
local lease = string.format('%d', now + tonumber(ARGV[1]))
local limit, window, per_host = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local outbox = root .. ':webhooks'

local in_hand = {}
for i = 6, #ARGV, 2 do in_hand[ARGV[i]] = tonumber(ARGV[i + 1]) end

local claimed, deleted, looked = {}, 0, 0
local ids = redis.call('ZRANGEBYSCORE', outbox, '-inf', due, 'LIMIT', ARGV[3], window)
for _, id in ipairs(ids) do
  if #claimed >= limit then break end
  looked = looked + 1
  local key = root .. ':delivery:' .. id
  local url = redis.call('HGET', key, 'url')
  if not url then
    redis.call('ZREM', outbox, id)
    deleted = deleted + 1
  else
    local host = string.gsub(string.lower(string.match(url, '^%a+://([^/?#]*)') or ''), ':%d*$', '')
    local count = in_hand[host] or 0
    if count < per_host then
      in_hand[host] = count + 1
      redis.call('ZADD', outbox, lease, id)
      redis.call('HSET', key, 'lease', lease)
      local number = redis.call('HINCRBY', key, 'claim', 1)
      local delivery = redis.call('HGETALL', key)
      table.insert(delivery, 1, tostring(number))
      table.insert(delivery, 1, host)
      claimed[#claimed + 1] = delivery
    end
  end
end

local later = redis.call('ZRANGEBYSCORE', outbox, '(' .. due, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local wait = later[2] and string.format('%d', tonumber(later[2]) - now) or ''
return { due, wait, looked == window and '1' or '', tostring(#ids - #claimed - deleted), unpack(claimed) }

-- The place of a new entry of a fair key among its tenant's waiting entries of a band (see tag.lua). Only reads.
--
-- KEYS    1 fair hash
-- ARGV    tenant, band, digest of the fair key ('' none)
-- Answer  {how many of them go before it, how many there are}

local lane = string.sub(KEYS[1], 1, -string.len(':fair') - 1)
local name = ARGV[2] .. ':' .. ARGV[1]
local turns, ends = lane .. ':key-turns:' .. name, lane .. ':key-ends:' .. name
local first = redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')
local known = redis.call('ZMSCORE', ends, 'v', ARGV[2] .. ':' .. ARGV[3])
local tag = math.max(tonumber(known[1] or '0'), tonumber(first[2] or '0'), tonumber(known[2] or '0'))
return { redis.call('ZCOUNT', turns, '-inf', string.format('%.17g', tag)), redis.call('ZCARD', turns) }

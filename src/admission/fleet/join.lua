-- Begins an epoch of this gateway: decisions of an earlier one, that may still
-- be on their way, are refused from here on.
--
-- KEYS: the marker. ARGV: epoch, latest decision seen, time to live.
-- Returns: the latest decision, the latest batch.

keep_only(KEYS[1], 'hash')
local known = redis.call('HMGET', KEYS[1], 'n', 'b')
local n = math.max(tonumber(known[1] or '0'), tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], 'e', ARGV[1], 'n', int(n))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { n, tonumber(known[2] or '0') }

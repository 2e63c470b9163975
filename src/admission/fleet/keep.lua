-- Renews places: those of a gateway that lives last as long as it does.
--
-- KEYS: a set for each place. ARGV: time to live; for each place its member.

local now, ttl = time(), tonumber(ARGV[1])
for i = 1, #KEYS do
  keep_only(KEYS[i], 'zset')
  redis.call('ZADD', KEYS[i], int(now + ttl), ARGV[1 + i])
  redis.call('PEXPIRE', KEYS[i], int(math.ceil(ttl / 1000)))
end
return 1

-- Makes this gateway's part of counters what its ledger says. Doing it twice
-- changes nothing.
--
-- KEYS: for each counter all and own.
-- ARGV: for each counter: window (3), how many buckets, and each one's bucket, amount.

local at = 1
for i = 1, #KEYS / 2 do
  local key, own = KEYS[2 * i - 1], KEYS[2 * i]
  keep_only(key, 'hash')
  keep_only(own, 'hash')
  unlease(key, own)
  local raw = redis.call('HGETALL', own)
  for f = 1, #raw, 2 do sub(key, raw[f], tonumber(raw[f + 1])) end
  redis.call('DEL', own)
  local w, count = window(at), tonumber(ARGV[at + 3])
  at = at + 4
  for _ = 1, count do
    local from, amount = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    add(key, own, from, amount)
    expire(key, own, w, from)
    at = at + 2
  end
end
return 1

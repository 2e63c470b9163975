-- Adds and gives back what this gateway did by itself: a batch is done once.
--
-- KEYS: the marker; for each change all and own.
-- ARGV: epoch, the batch's number; for each change: window (3), bucket, change.
-- Returns: 0: the marker is not as it was; 1: done, now or before.

local marker = redis.call('HMGET', KEYS[1], 'e', 'b')
if marker[1] ~= ARGV[1] then return 0 end
if tonumber(marker[2] or '0') >= tonumber(ARGV[2]) then return 1 end
local now = time()
for i = 1, (#KEYS - 1) / 2 do
  local key, own = KEYS[2 * i], KEYS[2 * i + 1]
  local at = 3 + 5 * (i - 1)
  local w, from, change = window(at), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  if change > 0 then
    -- It was spent from the lease.
    unlease(key, own)
    local ends = finish(w, from)
    if not ends or ends > now then
      add(key, own, from, change)
      expire(key, own, w, from)
    end
  elseif change < 0 then
    local field = int(from)
    local back = math.min(-change, tonumber(redis.call('HGET', own, field) or '0'))
    if back > 0 then
      sub(key, field, back)
      sub(own, field, back)
    end
  end
end
redis.call('HSET', KEYS[1], 'b', ARGV[2])
return 1

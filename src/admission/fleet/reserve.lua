-- Reserves in all counters and takes all places, or does nothing.
--
-- KEYS: the gateway's marker; for each counter all and own; for each place its set.
-- ARGV: epoch, latest decision seen, counters, places, member, places' time to
-- live; for each counter: window (3), limit, amount, lease; for each place: limit.
-- Returns: 0: the marker is not as it was; 1: done; 2: a counter is short;
-- 3: a place is short.

local epoch, seen = ARGV[1], tonumber(ARGV[2])
local counters, places, member, ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local marker = redis.call('HMGET', KEYS[1], 'e', 'n')
if marker[1] ~= epoch or tonumber(marker[2] or '0') < seen then return { 0 } end
local now = time()

for i = 1, places do
  local key = KEYS[1 + 2 * counters + i]
  redis.call('ZREMRANGEBYSCORE', key, '-inf', int(now))
  local taken = redis.call('ZCARD', key)
  if taken >= tonumber(ARGV[6 + 6 * counters + i]) then return { 3, i - 1, taken } end
end

local function look(i)
  local at = 7 + 6 * (i - 1)
  local c = {
    key = KEYS[2 * i], own = KEYS[2 * i + 1], w = window(at),
    limit = tonumber(ARGV[at + 3]), amount = tonumber(ARGV[at + 4]), want = tonumber(ARGV[at + 5]),
    latest = now, used = 0, lease = 0, buckets = {},
  }
  c.latest = math.max(now, tonumber(redis.call('HGET', c.key, 't') or '0'))
  local raw = redis.call('HGETALL', c.key)
  for f = 1, #raw, 2 do
    if raw[f] ~= 't' then
      local from, used = tonumber(raw[f]), tonumber(raw[f + 1])
      local ends = finish(c.w, from)
      if ends and ends <= c.latest then
        redis.call('HDEL', c.key, raw[f])
        redis.call('HDEL', c.own, raw[f])
      else
        c.used = c.used + used
        c.buckets[#c.buckets + 1] = { from = from, used = used }
      end
    end
  end
  table.sort(c.buckets, function(a, b) return a.from < b.from end)
  local lease = redis.call('HMGET', c.own, 'L', 'F')
  if lease[1] then
    local ends = finish(c.w, tonumber(lease[2]))
    if ends and ends <= c.latest then
      redis.call('HDEL', c.own, 'L', 'F')
    else
      c.lease, c.lease_from = tonumber(lease[1]), tonumber(lease[2])
    end
  end
  redis.call('HSET', c.key, 't', int(c.latest))
  expire(c.key, c.own, c.w, start(c.w, c.latest))
  return c
end

-- After how long there is room; nil for never.
local function free_after(c)
  if c.amount > c.limit then return nil end
  local used, free = c.used - c.lease, c.latest
  for _, bucket in ipairs(c.buckets) do
    if c.limit - used >= c.amount then break end
    used = used - bucket.used
    free = finish(c.w, bucket.from)
    if not free then return nil end
  end
  return free - c.latest
end

-- After how long nothing is used any more; -1 for never.
local function reset(c)
  local last = c.buckets[#c.buckets]
  if c.w.kind == 'total' then return -1 end
  if not last and c.w.kind == 'rolling' then return 0 end
  return finish(c.w, last and last.from or start(c.w, c.latest)) - c.latest
end

local all, short, longest = {}, nil, nil
for i = 1, counters do
  local c = look(i)
  all[i] = c
  if c.amount > math.max(0, c.limit - c.used + c.lease) then
    local after = free_after(c) or math.huge
    if not short or after > longest then short, longest = i, after end
  end
end

local function told(reply)
  for i = 1, counters do
    local c = all[i]
    local lasts = -1
    if c.lease > 0 then
      local ends = finish(c.w, c.lease_from)
      if ends then lasts = ends - now end
    end
    for _, value in ipairs({ c.from or 0, math.max(0, c.limit - c.used + c.lease), reset(c), c.lease, lasts }) do
      reply[#reply + 1] = value
    end
  end
  return reply
end

if short then
  return told({ 2, short - 1, longest == math.huge and -1 or longest })
end

for i = 1, counters do
  local c = all[i]
  c.from = start(c.w, c.latest)
  if c.amount > c.limit - c.used then
    unlease(c.key, c.own)
    c.used, c.lease = c.used - c.lease, 0
  end
  local more = c.amount
  if c.amount > 0 then add(c.key, c.own, c.from, c.amount) end
  c.used = c.used + c.amount
  if c.lease == 0 and c.want > 0 and c.limit - c.used >= c.want then
    add(c.key, nil, c.from, c.want)
    redis.call('HSET', c.own, 'L', int(c.want), 'F', int(c.from))
    c.lease, c.lease_from, c.used, more = c.want, c.from, c.used + c.want, more + c.want
  end
  if more > 0 then c.buckets[#c.buckets + 1] = { from = c.from, used = more } end
  expire(c.key, c.own, c.w, c.from)
end
for i = 1, places do
  local key = KEYS[1 + 2 * counters + i]
  redis.call('ZADD', key, int(now + ttl), member)
  redis.call('PEXPIRE', key, int(math.ceil(ttl / 1000)))
end
return told({ 1, redis.call('HINCRBY', KEYS[1], 'n', 1), now })

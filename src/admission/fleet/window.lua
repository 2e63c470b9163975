-- Where a window's buckets begin and end, and what a counter holds: the same
-- arithmetic as in period.rs and window.rs. Times are microseconds since 1970
-- and amounts are whole numbers, all below 2^53, which a double holds exactly.

local HOUR, DAY = 3600000000, 86400000000

-- A whole number as text; tostring would round it to 14 digits.
local function int(x) return string.format('%.0f', x) end

local function whole(x, by) return math.floor(x / by) end

-- The month of a day counted from 1970-01-01: its first day, and its length.
local function month(day)
  local since = day + 719468
  local of_era = since % 146097
  local year = whole(of_era - whole(of_era, 1460) + whole(of_era, 36524) - whole(of_era, 146096), 365)
  local of_year = of_era - (365 * year + whole(year, 4) - whole(year, 100))
  local index = whole(5 * of_year + 2, 153)
  local first = day - (of_year - whole(153 * index + 2, 5))
  local ends_in = year + 1
  local leap = ends_in % 4 == 0 and (ends_in % 100 ~= 0 or ends_in % 400 == 0)
  local days = 31
  if index == 11 then
    days = leap and 29 or 28
  elseif index == 1 or index == 3 or index == 6 or index == 8 then
    days = 30
  end
  return first, days
end

-- A window as three arguments say it: rolling (its buckets' width and its
-- length), a part of the calendar, or total.
local function window(at)
  return { kind = ARGV[at], width = tonumber(ARGV[at + 1]), length = tonumber(ARGV[at + 2]) }
end

-- The bucket of a moment.
local function start(w, at)
  if w.kind == 'rolling' then return at - at % w.width end
  if w.kind == 'hour' then return at - at % HOUR end
  local days = whole(at, DAY)
  if w.kind == 'day' then return days * DAY end
  if w.kind == 'week' then return math.max(0, days - (days + 3) % 7) * DAY end
  if w.kind == 'month' then
    local first = month(days)
    return first * DAY
  end
  return 0
end

-- When a bucket counts no more; nil for never.
local function finish(w, from)
  if w.kind == 'rolling' then return from + w.width + w.length end
  if w.kind == 'hour' then return from + HOUR end
  if w.kind == 'day' then return from + DAY end
  local days = whole(from, DAY)
  if w.kind == 'week' then return (days + 7 - (days + 3) % 7) * DAY end
  if w.kind == 'month' then
    local first, length = month(days)
    return (first + length) * DAY
  end
  return nil
end

local function time()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000000 + tonumber(now[2])
end

-- Whatever somebody else has put in a key's place is removed.
local function keep_only(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end

-- Adds to a bucket of all, and to this gateway's part of it.
local function add(key, own, from, amount)
  redis.call('HINCRBY', key, int(from), int(amount))
  if own then redis.call('HINCRBY', own, int(from), int(amount)) end
end

-- Takes from a bucket; one that is empty goes away.
local function sub(key, field, amount)
  if redis.call('HINCRBY', key, field, int(-amount)) <= 0 then
    redis.call('HDEL', key, field)
  end
end

-- Gives the lease of this gateway back.
local function unlease(key, own)
  local lease = redis.call('HMGET', own, 'L', 'F')
  if lease[1] then
    sub(key, lease[2], tonumber(lease[1]))
    redis.call('HDEL', own, 'L', 'F')
  end
end

-- Lets old counters go away by themselves, an hour after they count no more.
local function expire(key, own, w, from)
  local ends = finish(w, from)
  if ends then
    local at = int(math.ceil((ends + HOUR) / 1000))
    redis.call('PEXPIREAT', key, at)
    redis.call('PEXPIREAT', own, at)
  end
end

#!lua
-- A person spoke: the channel is visited at its usual pace again.
--
-- q.channels  {channel, share}: of the usual interval, what passes until the next visit at the most
-- Returns how many that changed anything for.
--
-- Safe to repeat: a channel at its usual pace is left alone, and so is one that is not visited.

local changed = 0
for _, each in ipairs(q.channels) do
  local key = visit_key(each[1])
  local row = redis.call('HMGET', key, 'unchanged', 'suspended_at', 'next_at', 'interval_ms')
  if row[4] and (number(row[1]) > 0 or row[2]) then
    redis.call('HSET', key, 'unchanged', 0)
    redis.call('HDEL', key, 'suspended_at')
    local at, soon = tonumber(row[3]), math.floor(now + number(row[4]) * each[2])
    -- One that was dropped for others more recently used has none to come; it is adopted in its turn.
    if row[2] or (at and at > soon) then place_visit(each[1], soon) end
    changed = changed + 1
  end
end
return changed

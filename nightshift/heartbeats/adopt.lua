#!lua
-- Have channels visited from now on.
--
-- q.channels     {channel, at, human_at}: the first visit of each, if it has none to come; when a person last spoke there
-- q.interval_ms  the pause that is usual
-- Returns how many were given a visit.
--
-- One that was suspended stays so until a person has spoken since. Safe to repeat: a second time all have their visit.

local adopted = 0
for _, each in ipairs(q.channels) do
  local channel, at, human_at = each[1], tonumber(each[2]), tonumber(each[3])
  local key = visit_key(channel)
  local row = redis.call('HMGET', key, 'adopted_at', 'next_at', 'suspended_at')
  if not row[1] then
    redis.call('HSET', key, 'adopted_at', int(now), 'interval_ms', q.interval_ms)
  elseif row[3] and human_at > number(row[3]) then
    redis.call('HDEL', key, 'suspended_at')
    row[3] = false
  end
  if not row[2] and not row[3] then
    place_visit(channel, at)
    adopted = adopted + 1
  end
end
return adopted

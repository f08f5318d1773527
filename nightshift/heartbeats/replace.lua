#!lua
-- Give another time to visits that lie further ahead than any may: a clock was set meanwhile.
--
-- q.ahead_ms, q.again_ms  how far a visit, and a second hand-out, may lie ahead
-- q.limit                 how many at once
-- Returns how many there were.
--
-- Safe to repeat: what has another time is no longer found.

math.randomseed(now % 2147483647)
local found = 0
for index, ahead in pairs({[VISITS] = q.ahead_ms, [VISITS_OUT] = q.again_ms}) do
  for _, channel in ipairs(redis.call('ZRANGEBYSCORE', index, '(' .. int(now + ahead), '+inf', 'LIMIT', 0, q.limit)) do
    local interval = number(redis.call('HGET', visit_key(channel), 'interval_ms'))
    place_visit(channel, math.floor(now + math.random() * interval))
    found = found + 1
  end
end
return found

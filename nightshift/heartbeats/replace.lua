#!lua
-- Give another time to beats that lie further ahead than any may: a clock was set meanwhile.
--
-- q.ahead_ms, q.again_ms  how far a beat, and a second hand-out, may lie ahead
-- q.limit                 how many at once
-- Returns how many there were.
--
-- Safe to repeat: what has another time is no longer found.

math.randomseed(now % 2147483647)
local found = 0
for index, ahead in pairs({[BEATS] = q.ahead_ms, [BEATS_OUT] = q.again_ms}) do
  for _, channel in ipairs(redis.call('ZRANGEBYSCORE', index, '(' .. int(now + ahead), '+inf', 'LIMIT', 0, q.limit)) do
    local interval = number(redis.call('HGET', beat_key(channel), 'interval_ms'))
    place_beat(channel, math.floor(now + math.random() * interval))
    found = found + 1
  end
end
return found

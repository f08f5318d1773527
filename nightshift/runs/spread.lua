#!lua flags=allow-oom
-- Have waiting runs looked at again, one after the other.
--
-- q.ids       the runs to look through
-- q.met       those that went back to waiting with an error of this name
-- q.queues    {queue: true}: and those of these queues that are ready
-- q.moved     how many went before
-- q.pace_ms   from one to the next
-- Returns how many have now been moved, with those before
--
-- Safe to repeat: a run that has been claimed meanwhile is left alone, and one that was moved moves within its time.

local moved = q.moved
for _, id in ipairs(q.ids) do
  local key = run_key(id)
  local row = redis.call('HMGET', key, 'state', 'queue', 'reason', 'ready')
  if row[1] == 'waiting' then
    local at = now + moved * q.pace_ms
    local met = row[3]:sub(1, #q.met + 2) == q.met .. ': '
    if met or (q.queues[row[2]] and number(row[4]) <= at) then
      redis.call('HSET', key, 'ready', int(math.min(number(row[4]), at)), 'hints', 0)
      redis.call('ZADD', OPEN, at, id)
      moved = moved + 1
    end
  end
end
if moved > q.moved then poke(now + q.moved * q.pace_ms) end
return moved

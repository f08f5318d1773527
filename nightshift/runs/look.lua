#!lua flags=allow-oom
-- Take or keep the pulse's shift, and hand out what is due.
--
-- q.holder, q.lease_ms, q.shift_ms   who asks, how long the shift outlives this look, when it may be relieved
-- q.leave                            give the shift back and hand out nothing
-- q.limit                            how many runs, and how many schedules, at the most
-- q.held                             {queue: ms}: no hints for these queues; look again after ms
-- q.hint_ms, q.hint_ceiling_ms, q.limits
-- Returns {'standby', until} | {'relieved'} | {'left'} |
--         {'shift', now, next, {run, task, queue, hints, ready, ...}, {schedule, score, row, ...}}
--
-- A run whose lease lapsed goes back to waiting and spends an attempt. Safe to repeat: a second look finds
-- what it handed out pushed forward.

local lane = redis.call('HMGET', PULSE, 'holder', 'until', 'since', 'next', 'next_at')
local holder, till, since, successor, asked = lane[1], number(lane[2]), number(lane[3]), lane[4], number(lane[5])
local wanted = successor and successor ~= q.holder and asked + 15000 > now

if holder and holder ~= q.holder and till > now then
  if not q.leave then
    redis.call('HSET', PULSE, 'next', q.holder, 'next_at', int(now))
    if since + q.shift_ms <= now then redis.call('PUBLISH', root .. 'poke', 'relief') end
  end
  return {'standby', int(till)}
end

if q.leave or (holder == q.holder and wanted and since + q.shift_ms <= now) then
  if holder == q.holder then
    redis.call('DEL', PULSE)
    redis.call('PUBLISH', root .. 'poke', 'free')
  end
  return {q.leave and 'left' or 'relieved'}
end

if holder ~= q.holder then
  since = now
  redis.call('DEL', PULSE)
end

local function wait_again(id, pause) redis.call('ZADD', OPEN, now + pause, id) end

local function hint(id, key, hints)
  local row = redis.call('HMGET', key, 'task', 'queue', 'ready', 'hints')
  local pause = q.held[row[2]]
  if pause then
    wait_again(id, tonumber(pause))
    return
  end
  local times = number(row[4]) + 1
  redis.call('HSET', key, 'hints', times)
  tell(key, 'hinted', row[2])
  wait_again(id, math.min(q.hint_ms * 2 ^ math.min(times - 1, 20), q.hint_ceiling_ms))
  for _, value in ipairs({id, row[1], row[2], int(times), row[3]}) do hints[#hints + 1] = value end
end

local hints = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', OPEN, '-inf', now, 'LIMIT', 0, q.limit)) do
  local key = run_key(id)
  local state = redis.call('HGET', key, 'state')
  if state == 'waiting' then
    hint(id, key, hints)
  elseif state == 'running' then
    if take_back(id) then hint(id, key, hints) end
  else
    redis.call('ZREM', OPEN, id)
  end
end

local due = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, q.limit)) do
  due[#due + 1] = {id, redis.call('ZSCORE', DUE, id), redis.call('HGETALL', schedule_key(id))}
end

local nearest = now + q.lease_ms
for _, index in ipairs({OPEN, DUE}) do
  local first = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')
  if first[2] then nearest = math.min(nearest, tonumber(first[2])) end
end
redis.call('HSET', PULSE, 'holder', q.holder, 'since', int(since), 'until', int(now + q.lease_ms), 'asleep_until', int(nearest))
return {'shift', int(now), int(nearest), hints, due}

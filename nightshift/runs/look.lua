#!lua flags=allow-oom
-- Take or keep the pulse's shift, and hand out what is due.
--
-- q.holder, q.lease_ms, q.shift_ms   who asks, how long the shift outlives this look, when it may be relieved
-- q.leave                            give the shift back and hand out nothing
-- q.limit                            how many runs, and how many schedules, at the most
-- q.held                             {queue: ms}: no hints for these queues; look again after ms
-- q.hint_ms, q.hint_ceiling_ms, q.limits
-- q.unasked_ms                       how long what a bot is to ask for is offered
-- q.share                            how many runs of one tenant may be in flight on one queue while others have work
-- q.visits                            {ahead_ms, again_ms, late_ms}: hand out channels' visits too
-- Returns {'standby', until} | {'relieved'} | {'left'} |
--         {'shift', now, next, {run, task, queue, hints, ready, ...}, {schedule, score, row, ...}, {channel, generation, at, ...},
--          visits that were too late}
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

-- A tenant alone may have all there is. Whoever is over the share waits in line outside the queue, a few runs
-- every 50 ms, so that a long line costs no more looks than a short one.
redis.call('ZREMRANGEBYSCORE', TENANTS, '-inf', now - 600000)
local crowded = redis.call('ZCARD', TENANTS) > 1
local LINES = root .. 'inflight'

local function waits_in_line(id, queue, tenant)
  local inflight = inflight_key(queue, tenant)
  if redis.call('SISMEMBER', inflight, id) == 1 or redis.call('SCARD', inflight) < q.share then return false end
  local line = queue .. ':' .. tenant
  local at = math.max(number(redis.call('HGET', LINES, line)), now) + 2
  redis.call('HSET', LINES, line, int(at))
  wait_again(id, math.ceil(at / 50) * 50 - now)
  return true
end

local function hint(id, key, hints)
  local row = redis.call('HMGET', key, 'task', 'queue', 'ready', 'hints', 'tenant')
  if row[2] == 'pull' then
    local till = number(row[3]) + q.unasked_ms
    if till <= now then end_run(id, 'skipped', 'nobody asked for it', '') else wait_again(id, till - now) end
    return
  end
  local pause = q.held[row[2]]
  if pause then
    wait_again(id, tonumber(pause))
    return
  end
  if crowded and waits_in_line(id, row[2], row[5]) then return end
  redis.call('SADD', inflight_key(row[2], row[5]), id)
  local times = number(row[4]) + 1
  redis.call('HSET', key, 'hints', times)
  tell(key, 'hinted', row[2])
  wait_again(id, math.min(q.hint_ms * 2 ^ math.min(times - 1, 20), q.hint_ceiling_ms))
  for _, value in ipairs({id, row[1], row[2], int(times), row[3]}) do hints[#hints + 1] = value end
end

-- What has come by this time. An index where nothing has is not asked again below for its first entry.
local firsts = {}
local function come(index, by)
  local first = tonumber(redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')[2]) or math.huge
  if first > by then
    firsts[index] = first
    return {}
  end
  return redis.call('ZRANGEBYSCORE', index, '-inf', by, 'LIMIT', 0, q.limit)
end

local function first_of(index)
  return firsts[index] or tonumber(redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')[2]) or math.huge
end

local hints = {}
for _, id in ipairs(come(OPEN, now)) do
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
for _, id in ipairs(come(DUE, now)) do
  due[#due + 1] = {id, redis.call('ZSCORE', DUE, id), redis.call('HGETALL', schedule_key(id))}
end

-- Visits are handed out some seconds ahead, to be carried out in time; one whose message was lost comes again from
-- `beats:out`. What is too late for its time gets another, anywhere in the interval, so that no herd comes of it.
local visits, missed = {}, 0
local function hand_out(channel)
  local row = redis.call('HMGET', visit_key(channel), 'generation', 'next_at', 'interval_ms')
  local at, interval = tonumber(row[2]), number(row[3])
  if not at then
    redis.call('ZREM', VISITS, channel)
    redis.call('ZREM', VISITS_OUT, channel)
  elseif at < now - q.visits.late_ms then
    local times = 1 + math.floor((now - at) / math.max(interval, 1000))
    skip_visit(channel, 'missed', row[2], times, '')
    place_visit(channel, math.floor(now + math.random() * interval))
    missed = missed + 1
  else
    redis.call('ZREM', VISITS, channel)
    redis.call('ZADD', VISITS_OUT, now + q.visits.again_ms, channel)
    for _, value in ipairs({channel, row[1], row[2]}) do visits[#visits + 1] = value end
  end
end

local nearest = now + q.lease_ms
if q.visits and not q.held.heartbeat then
  math.randomseed(now % 2147483647) -- the same for every script otherwise
  for _, channel in ipairs(come(VISITS, now + q.visits.ahead_ms)) do hand_out(channel) end
  for _, channel in ipairs(come(VISITS_OUT, now)) do hand_out(channel) end
  if missed > 0 then emit('beats_missed', {'source', 'heartbeat', 'reason', 'missed', 'times', missed}) end
  -- Half of what it is ahead: a look then finds many, not one.
  nearest = math.min(nearest, first_of(VISITS) - q.visits.ahead_ms / 2, first_of(VISITS_OUT))
end

nearest = math.min(nearest, first_of(OPEN), first_of(DUE))
redis.call('HSET', PULSE, 'holder', q.holder, 'since', int(since), 'until', int(now + q.lease_ms), 'asleep_until', int(nearest))
return {'shift', int(now), int(nearest), hints, due, visits, missed}

-- Shared by every script of the ledger: names of keys, the clock, and what a change leaves behind.
-- KEYS[1] is always the root of the shard; ARGV[1] is always one JSON object, `q`.

local root = KEYS[1]
local q = cjson.decode(ARGV[1])

local function run_key(id) return root .. 'run:' .. id end
local function schedule_key(id) return root .. 'schedule:' .. id end
local function lane_key(name) return root .. 'lane:of:' .. name end
local DUE, OPEN, PULSE = root .. 'due', root .. 'open', root .. 'lane:pulse'

-- Milliseconds. `q.now` is set by tests only; otherwise the server's clock rules.
local now = tonumber(q.now)
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

local function int(n) return string.format('%.0f', n) end
local function number(value) return tonumber(value) or 0 end

-- Add a line to the run's own story; the oldest lines go first. Error messages may span lines; a story's may not.
local function tell(key, what, detail)
  local line = int(now) .. ' ' .. what .. (detail and detail ~= '' and (' ' .. detail:gsub('%c', ' ')) or '') .. '\n'
  local story = (redis.call('HGET', key, 'story') or '') .. line
  if #story > 8192 then story = story:sub(-8192):gsub('^[^\n]*\n', '') end
  redis.call('HSET', key, 'story', story)
end

local function emit(kind, fields)
  redis.call('XADD', root .. 'events', 'MAXLEN', '~', '100000', '*', 'type', kind, unpack(fields))
end

-- Every event of a run says what it is for, and whose it is.
local function emit_run(kind, id, fields)
  local row = redis.call('HMGET', run_key(id), 'source', 'tenant')
  emit(kind, {'run', id, 'source', row[1], 'tenant', row[2], unpack(fields)})
end

-- For the source on this day, and for everybody since the store began.
local function count(source, what, by)
  local key = root .. 'tally:' .. int(math.floor(now / 86400000))
  redis.call('HINCRBY', key, source .. '|' .. what, int(by or 1))
  redis.call('EXPIRE', key, 400 * 86400)
  redis.call('HINCRBY', root .. 'tally:total', what, int(by or 1))
end

-- A slot that made no run: the last fifty with their reason, and a count. Saying it again changes nothing.
local function skip(source, reason, nominal, times, detail)
  local key = root .. 'tally:skips:' .. source
  for _, line in ipairs(redis.call('LRANGE', key, 0, -1)) do
    local known = cjson.decode(line)
    if known.nominal == nominal and known.reason == reason then return end
  end
  redis.call('LPUSH', key, cjson.encode({at = int(now), nominal = nominal, reason = reason, times = times, detail = detail}))
  redis.call('LTRIM', key, 0, 49)
  count(source, 'skipped:' .. reason, times)
  emit('slot_skipped', {'source', source, 'nominal', tostring(nominal), 'reason', reason, 'times', int(times)})
end

-- Wake the pulse if it would sleep past `at`.
local function poke(at)
  local asleep = redis.call('HGET', PULSE, 'asleep_until')
  if asleep and tonumber(asleep) > at then redis.call('PUBLISH', root .. 'poke', int(at)) end
end

local function is_open(id)
  local state = redis.call('HGET', run_key(id), 'state')
  return state == 'waiting' or state == 'running'
end

-- A run holds its lane from when it waits, so that a slot can tell that the one before it is still open.
local function take_lane(key, id)
  local lane = redis.call('HGET', key, 'lane')
  if lane == '' then return end
  local holder = redis.call('HGET', lane_key(lane), 'holder')
  if not holder or not is_open(holder) then
    redis.call('HSET', lane_key(lane), 'holder', id, 'token', 0, 'until', 0)
  end
end

local function leave_lane(key, id)
  local lane = redis.call('HGET', key, 'lane')
  if not lane or lane == '' or redis.call('HGET', lane_key(lane), 'holder') ~= id then return end
  local waiter = redis.call('HGET', lane_key(lane), 'waiter')
  redis.call('DEL', lane_key(lane))
  if waiter and redis.call('HGET', run_key(waiter), 'state') == 'waiting' then
    redis.call('ZADD', OPEN, now, waiter)
    poke(now)
  end
end

-- What all attempts at this run cost: one field an attempt, so that repeating a write adds nothing.
local function total_cost(key)
  local sum = 0
  local row = redis.call('HGETALL', key)
  for i = 1, #row, 2 do
    if row[i]:sub(1, 5) == 'cost:' then sum = sum + number(row[i + 1]) end
  end
  return sum
end

local function end_run(id, state, reason, result)
  local key = run_key(id)
  local row = redis.call('HMGET', key, 'source', 'started', 'nominal', 'worker', 'queue', 'cost')
  local cost = total_cost(key)
  local new_cost = cost - number(row[6]) -- a replayed run has been counted up to its earlier end
  redis.call('HSET', key, 'state', state, 'reason', reason, 'result', result, 'ended', int(now), 'cost', int(cost))
  redis.call('HDEL', key, 'lease', 'cancel')
  redis.call('ZREM', OPEN, id)
  redis.call('ZADD', root .. 'ended:' .. state, now, id)
  leave_lane(key, id)
  count(row[1], state)
  if new_cost > 0 then count(row[1], 'cost', new_cost) end
  if redis.call('EXISTS', schedule_key(row[1])) == 1 then
    redis.call('HSET', schedule_key(row[1]), 'last_run', id, 'last_state', state, 'last_reason', reason,
      'last_ended', int(now), 'last_nominal', row[3])
  end
  tell(key, state, reason)
  local started = tonumber(row[2])
  emit_run('run_settled', id, {'status', state, 'reason', reason, 'worker', row[4] or '',
    'queue', row[5] or '', 'cost', int(cost), 'duration_ms', started and int(now - started) or ''})
end

-- Put a run back to waiting, counting it against `spends` (attempts, retries, or nothing).
-- Past the limit it fails instead. True if it waits.
local function return_run(id, reason, at, spends)
  local key = run_key(id)
  local cancelled = redis.call('HGET', key, 'cancel')
  if cancelled then
    end_run(id, 'skipped', cancelled, '')
    return false
  end
  if spends ~= '' then
    local spent = redis.call('HINCRBY', key, spends, 1)
    if spent >= number(q.limits[spends]) then
      end_run(id, 'failed', 'gave up after ' .. spent .. ' ' .. spends .. ': ' .. reason, '')
      return false
    end
  end
  redis.call('HSET', key, 'state', 'waiting', 'ready', int(at), 'hints', 0, 'reason', reason)
  redis.call('HDEL', key, 'lease', 'worker')
  redis.call('ZADD', OPEN, at, id)
  tell(key, 'returned', reason)
  emit_run('run_returned', id, {'status', 'waiting', 'reason', reason, 'spends', spends, 'ready', int(at)})
  return true
end

-- End a claim that lapsed: it counts as an attempt. True if the run waits again.
local function take_back(id)
  local row = redis.call('HMGET', run_key(id), 'source', 'worker')
  count(row[1], 'lost')
  return return_run(id, 'lost by ' .. (row[2] or '?'), now, 'attempts')
end

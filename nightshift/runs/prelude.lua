-- Shared by every script of the ledger: names of keys, the clock, and what a change leaves behind.
-- KEYS[1] is always the root of the shard; ARGV[1] is always one JSON object, `q`.

local root = KEYS[1]
local q = cjson.decode(ARGV[1])

local function run_key(id) return root .. 'run:' .. id end
local function schedule_key(id) return root .. 'schedule:' .. id end
local function lane_key(name) return root .. 'lane:of:' .. name end
local function waits_key(lane) return root .. 'lane:waits:' .. lane end
local DUE, OPEN, PULSE = root .. 'due', root .. 'open', root .. 'lane:pulse'
local TENANTS = root .. 'tenants'
local VISITS, VISITS_OUT = root .. 'beats', root .. 'beats:out'
local function visit_key(channel) return root .. 'beats:of:' .. channel end
local function work_key(tenant, agent) return root .. 'work:' .. tenant .. ':' .. agent end
-- The runs of one tenant on one queue that are hinted or carried out.
local function inflight_key(queue, tenant) return root .. 'inflight:' .. queue .. ':' .. tenant end

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
  local row = redis.call('HMGET', run_key(id), 'source', 'tenant', 'agent')
  emit(kind, {'run', id, 'source', row[1], 'tenant', row[2], 'agent', row[3] or '', unpack(fields)})
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

-- A channel's visit that was none. A quiet channel is skipped for one reason again and again, and there may be very
-- many of them: that is one line that counts, and one count of the day for all. True if the line is a new one.
local function skip_visit(channel, reason, nominal, times, detail)
  local key = root .. 'tally:skips:heartbeat:' .. channel
  local head = redis.call('LINDEX', key, 0)
  local line = head and cjson.decode(head)
  local known = line and line.reason == reason and line.detail == detail
  if known then
    line.times = line.times + times
    redis.call('LPOP', key)
  else
    line = {nominal = tostring(nominal), reason = reason, times = times, detail = detail}
  end
  line.at, line.till = int(now), tostring(nominal)
  redis.call('LPUSH', key, cjson.encode(line))
  redis.call('LTRIM', key, 0, 49)
  count('heartbeat', 'skipped:' .. reason, times)
  return not known
end

-- Give a channel its next visit; what was handed out for it before means nothing from here on.
local function place_visit(channel, at)
  redis.call('ZREM', VISITS_OUT, channel)
  redis.call('ZADD', VISITS, at, channel)
  redis.call('HSET', visit_key(channel), 'next_at', int(at))
  redis.call('HINCRBY', visit_key(channel), 'generation', 1)
  poke(at)
end

-- Give a channel no more visits until somebody places the next.
local function stop_visits(channel)
  redis.call('ZREM', VISITS, channel)
  redis.call('ZREM', VISITS_OUT, channel)
  redis.call('HDEL', visit_key(channel), 'next_at')
  redis.call('HINCRBY', visit_key(channel), 'generation', 1)
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
  if not lane or lane == '' then return end
  redis.call('ZREM', waits_key(lane), id)
  if redis.call('HGET', lane_key(lane), 'holder') ~= id then return end
  redis.call('DEL', lane_key(lane))
  local waiter = redis.call('ZPOPMIN', waits_key(lane))[1]
  if waiter then
    redis.call('ZADD', OPEN, now, waiter)
    poke(now)
  end
end

-- What is on the queue `pull` is no worker's: the agent's own bot asks for it, what is ready soonest first.
local function offer(id, queue, tenant, agent, at)
  if queue == 'pull' then redis.call('ZADD', work_key(tenant, agent), at, id) end
end

local function withdraw(id, queue, tenant, agent)
  if queue == 'pull' then redis.call('ZREM', work_key(tenant, agent), id) end
end

-- A run that is not there yet begins to wait.
local function create_run(run)
  local key = run_key(run.id)
  local ready = math.max(number(run.ready), number(run.nominal))
  redis.call('HSET', key, 'id', run.id, 'source', run.source, 'nominal', run.nominal, 'task', run.task,
    'queue', run.queue, 'lane', run.lane, 'state', 'waiting', 'reason', '', 'ready', int(ready),
    'deadline_ms', run.deadline_ms, 'payload', run.payload, 'tenant', run.tenant, 'agent', run.agent,
    'created', int(now), 'attempts', 0, 'retries', 0, 'hints', 0, 'token', 0)
  redis.call('ZADD', OPEN, ready, run.id)
  redis.call('ZADD', TENANTS, now, run.tenant)
  offer(run.id, run.queue, run.tenant, run.agent, ready)
  take_lane(key, run.id)
  tell(key, 'recorded', run.cause)
  emit_run('run_recorded', run.id, {'status', 'waiting', 'queue', run.queue, 'nominal', run.nominal})
  poke(ready)
end

-- Deliveries. One that is requested stands in a queue: its channel's, whose head has a run to send it, or its
-- bot's. It leaves the queue when it has an end, and what stood behind it is sent next.

local function delivery_key(id) return root .. 'delivery:' .. id end

local function send_next(queue)
  local id = redis.call('LINDEX', queue, 0)
  local sending = id and redis.call('HGET', delivery_key(id), 'sending')
  if not sending or sending == '' then return end
  local run = cjson.decode(sending)
  run.nominal, run.ready = int(now), int(now)
  if redis.call('EXISTS', run_key(run.id)) == 0 then create_run(run) end
end

local function move_delivery(id, state, reason)
  local key = delivery_key(id)
  local row = redis.call('HMGET', key, 'state', 'queue', 'source', 'run', 'channel', 'tenant', 'agent')
  if row[1] then redis.call('ZREM', root .. 'deliveries:' .. row[1], id) end
  redis.call('HSET', key, 'state', state, 'reason', reason, 'changed', int(now))
  redis.call('ZADD', root .. 'deliveries:' .. state, now, id)
  if state == 'requested' then
    redis.call('RPUSH', row[2], id)
  else
    redis.call('LREM', row[2], 1, id)
  end
  send_next(row[2])
  count(row[3], 'delivery:' .. state)
  -- Never the text: whoever follows the stream may not be meant to read it.
  emit('delivery_' .. state, {'delivery', id, 'status', state, 'reason', reason, 'source', row[3], 'run', row[4],
    'channel', row[5], 'tenant', row[6], 'agent', row[7]})
end

-- A run that ends without having brought its delivery to an end takes it along.
local function leave_delivery(run_id, reason)
  local id = run_id:match('^delivery:(.+)@%d+$')
  local row = id and redis.call('HMGET', delivery_key(id), 'state', 'sending_run', 'claimed')
  if not row or row[1] ~= 'requested' or row[2] ~= run_id then return end
  move_delivery(id, row[3] == '' and 'failed' or 'unknown', reason)
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
  local row = redis.call('HMGET', key, 'source', 'started', 'nominal', 'worker', 'queue', 'cost', 'tenant', 'agent')
  local cost = total_cost(key)
  local new_cost = cost - number(row[6]) -- a replayed run has been counted up to its earlier end
  redis.call('HSET', key, 'state', state, 'reason', reason, 'result', result, 'ended', int(now), 'cost', int(cost))
  redis.call('HDEL', key, 'lease', 'cancel')
  redis.call('ZREM', OPEN, id)
  redis.call('ZADD', root .. 'ended:' .. state, now, id)
  redis.call('SREM', inflight_key(row[5], row[7]), id)
  withdraw(id, row[5], row[7], row[8])
  leave_lane(key, id)
  leave_delivery(id, reason)
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
  local whose = redis.call('HMGET', key, 'queue', 'tenant', 'agent')
  redis.call('SREM', inflight_key(whose[1], whose[2]), id)
  offer(id, whose[1], whose[2], whose[3], at)
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

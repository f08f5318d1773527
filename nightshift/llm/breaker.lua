#!lua flags=allow-oom
-- Whether an endpoint may be called, and how a call to it went.
--
-- q.endpoint
-- q.went       'ok' or 'failed': how a call went; absent: may one be made?
-- q.window_ms, q.least      the calls of this time are judged, once there are so many
-- q.pause_ms, q.ceiling_ms  how long it is left alone the first time, and at the most
-- q.trial_ms   how long the one call lasts that is let through after a pause
-- Returns {'closed'} | {'open', ms until a call may be made}
--
-- A pause ends with one call: if it goes well the endpoint is trusted again, else the next pause is twice as long.

local key = root .. 'breaker:' .. q.endpoint
local row = redis.call('HMGET', key, 'until', 'pause', 'trial')
local till, pause, trial = tonumber(row[1]), number(row[2]), number(row[3])

local function open(ms)
  redis.call('DEL', key)
  redis.call('HSET', key, 'until', int(now + ms), 'pause', int(ms))
  redis.call('PEXPIRE', key, int(ms + q.ceiling_ms))
  emit('breaker_opened', {'source', 'endpoint:' .. q.endpoint, 'status', 'open', 'pause_ms', int(ms)})
  return {'open', int(ms)}
end

if not q.went then
  if not till then return {'closed'} end
  local wait = math.max(till, trial) - now
  if wait > 0 then return {'open', int(wait)} end
  redis.call('HSET', key, 'trial', int(now + q.trial_ms))
  return {'closed'}
end

if till then
  -- What was called before the pause, and answers in it, says nothing new.
  if till > now then return {'open', int(till - now)} end
  if q.went == 'failed' then return open(math.min(pause * 2, q.ceiling_ms)) end
  redis.call('DEL', key)
  emit('breaker_closed', {'source', 'endpoint:' .. q.endpoint, 'status', 'ok'})
  return {'closed'}
end

local slice_ms = q.window_ms / 6
local slice = math.floor(now / slice_ms)
redis.call('HINCRBY', key, q.went .. ' ' .. int(slice), 1)
redis.call('PEXPIRE', key, int(q.window_ms))
local sums = {ok = 0, failed = 0}
local counts = redis.call('HGETALL', key)
for i = 1, #counts, 2 do
  local went, at = counts[i]:match('^(%l+) (%d+)$')
  if tonumber(at) > slice - 6 then
    sums[went] = sums[went] + counts[i + 1]
  else
    redis.call('HDEL', key, counts[i])
  end
end
local calls = sums.ok + sums.failed
if q.went == 'failed' and calls >= q.least and sums.failed * 2 >= calls then return open(q.pause_ms) end
return {'closed'}

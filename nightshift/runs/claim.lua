#!lua flags=allow-oom
-- Let one worker carry the run out.
--
-- q.id, q.worker, q.message, q.lease_ms, q.limits
-- q.nonce   names this call, so that its repetition is known from a second hint
-- Returns {'claimed', row} | {'busy'} | {'ended', state} | {'early', ready} | {'lane', holder} | {'missing'}
--
-- Safe to repeat: the same call is given the same claim again; every other one finds the run taken.

local key = run_key(q.id)
local row = redis.call('HMGET', key, 'state', 'lease', 'ready', 'lane', 'nonce', 'source', 'queue', 'tenant', 'agent')
local state, lease, ready, lane, nonce = row[1], number(row[2]), number(row[3]), row[4], row[5]

if not state then return {'missing'} end
if state == 'running' then
  if lease > now then
    if nonce == q.nonce then return {'claimed', redis.call('HGETALL', key)} end
    return {'busy'}
  end
  if not take_back(q.id) then return {'ended', redis.call('HGET', key, 'state')} end
elseif state ~= 'waiting' then
  return {'ended', state}
elseif ready > now then
  return {'early', int(ready)}
end

if lane ~= '' then
  local holder = redis.call('HGET', lane_key(lane), 'holder')
  if holder and holder ~= q.id and redis.call('HGET', run_key(holder), 'state') == 'running' then
    -- Whoever leaves the lane wakes the one that asked first; should that get lost, each looks again after a lease.
    redis.call('ZADD', waits_key(lane), 'NX', now, q.id)
    redis.call('PEXPIRE', waits_key(lane), q.lease_ms * 2)
    redis.call('HSET', key, 'hints', 0)
    redis.call('ZADD', OPEN, now + q.lease_ms, q.id)
    return {'lane', holder}
  end
end

local token = redis.call('HINCRBY', key, 'token', 1)
local till = now + q.lease_ms
redis.call('HSET', key, 'state', 'running', 'reason', '', 'worker', q.worker, 'message', q.message,
  'nonce', q.nonce, 'lease', int(till), 'started', int(now))
redis.call('ZADD', OPEN, till, q.id)
withdraw(q.id, row[7], row[8], row[9])
if lane ~= '' then
  redis.call('ZREM', waits_key(lane), q.id)
  redis.call('HSET', lane_key(lane), 'holder', q.id, 'token', token, 'until', int(till))
end
count(row[6], 'claimed')
tell(key, 'claimed', q.worker .. ' ' .. q.message)
emit_run('run_started', q.id, {'status', 'running', 'worker', q.worker, 'queue', row[7]})
return {'claimed', redis.call('HGETALL', key)}

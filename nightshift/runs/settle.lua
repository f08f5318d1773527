#!lua flags=allow-oom
-- End a run, or put it back to waiting.
--
-- q.id, q.token    the claim that ends; no token: a person cancels the run
-- q.state          done | skipped | failed | waiting
-- q.reason, q.result, q.cost
-- q.after_ms, q.spends, q.limits   for a run that goes back to waiting
-- Returns {'settled', state} | {'asked'} (a worker will stop it) | {'lost', state} | {'missing'}
--
-- Safe to repeat: the claim that settled is remembered and answered alike.

local key = run_key(q.id)
local row = redis.call('HMGET', key, 'state', 'token', 'settled_by', 'reason')
local state, token = row[1], tonumber(row[2])
if not state then return {'missing'} end

if not q.token then
  if state == 'waiting' then
    end_run(q.id, q.state, q.reason, '')
    return {'settled', q.state}
  elseif state == 'running' then
    redis.call('HSET', key, 'cancel', q.reason)
    tell(key, 'cancelling', q.reason)
    return {'asked'}
  elseif state == q.state and row[4] == q.reason then
    return {'settled', state}
  end
  return {'lost', state}
end

if token == q.token and tonumber(row[3]) == q.token then return {'settled', state} end
if state ~= 'running' or token ~= q.token then return {'lost', state} end

redis.call('HSET', key, 'settled_by', q.token, 'cost:' .. q.token, int(q.cost))
if q.state ~= 'waiting' then
  end_run(q.id, q.state, q.reason, q.result)
  return {'settled', q.state}
end
local at = now + q.after_ms
if not return_run(q.id, q.reason, at, q.spends) then return {'settled', redis.call('HGET', key, 'state')} end
poke(at)
return {'settled', 'waiting'}

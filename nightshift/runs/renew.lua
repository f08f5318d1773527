#!lua flags=allow-oom
-- Keep a claim alive, and store what must survive its loss.
--
-- q.id, q.token, q.lease_ms
-- q.checkpoint   stored as it is, if given
-- q.cost         what this claim has cost so far, in micro-USD
-- Returns {'renewed'} | {'cancelled', reason} | {'lost'}
--
-- Safe to repeat: all values are absolute.

local key = run_key(q.id)
local row = redis.call('HMGET', key, 'state', 'token', 'lane', 'cancel')
if row[1] ~= 'running' or tonumber(row[2]) ~= q.token then return {'lost'} end

local till = now + q.lease_ms
redis.call('HSET', key, 'lease', int(till), 'cost:' .. q.token, int(q.cost))
redis.call('ZADD', OPEN, till, q.id)
if row[3] ~= '' then redis.call('HSET', lane_key(row[3]), 'until', int(till)) end
if q.checkpoint then
  redis.call('HSET', key, 'checkpoint', q.checkpoint)
  tell(key, 'checkpoint')
end
return row[4] and {'cancelled', row[4]} or {'renewed'}

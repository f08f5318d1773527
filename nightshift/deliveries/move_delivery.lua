#!lua flags=allow-oom
-- Bring a delivery to another state.
--
-- q.id, q.to, q.reason
-- q.from     the states that it may leave
-- q.claim    the attempt that has to be the last one; empty: there may be none; left out: it does not matter
-- q.fields   set together with the state
-- q.at       when the platform took it; now, if nobody says
-- Returns {'moved' | 'stale', row} | {'missing'}
--
-- Safe to repeat: one that stands there already, with the same fields, is answered alike.

local key = delivery_key(q.id)
local state = redis.call('HGET', key, 'state')
if not state then return {'missing'} end

local function stands_there()
  if state ~= q.to then return false end
  for field, value in pairs(q.fields) do
    if redis.call('HGET', key, field) ~= value then return false end
  end
  return true
end

local function may_leave()
  for _, each in ipairs(q.from) do
    if state == each then return not q.claim or redis.call('HGET', key, 'claimed') == q.claim end
  end
  return false
end

local answer = 'moved'
if not stands_there() then
  if may_leave() then
    for field, value in pairs(q.fields) do redis.call('HSET', key, field, value) end
    if q.to == 'requested' then redis.call('HSET', key, 'claimed', '', 'leased', 0, 'offers', 0) end
    if q.to == 'sent' then redis.call('HSET', key, 'sent', q.at or int(now)) end
    move_delivery(q.id, q.to, q.reason)
  else
    answer = 'stale'
  end
end
return {answer, redis.call('HGETALL', key)}

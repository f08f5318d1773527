#!lua
-- Change what is known of one channel.
--
-- q.ref, q.platform, q.id    which
-- q.fields                   what to set; empty values are taken away
-- q.create                   whether it may be new; then q.tenant and q.agent say whose it is
-- Returns one of: changed, missing, forgotten, another tenant's
--
-- Safe to repeat.

local key = root .. 'channel:' .. q.ref
local tenant = redis.call('HGET', key, 'tenant')
if q.create and tenant and tenant ~= q.tenant then return "another tenant's" end
if not tenant then
  if not q.create then return 'missing' end
  -- What was forgotten is not known again before somebody speaks there.
  if redis.call('HEXISTS', root .. 'forgotten', 'channel:' .. q.ref) == 1 then return 'forgotten' end
  redis.call('HSET', key, 'platform', q.platform, 'id', q.id, 'tenant', q.tenant, 'agent', q.agent)
  redis.call('ZADD', root .. 'channels', 'NX', 0, q.ref)
end
if q.fields.audience and q.fields.audience ~= (redis.call('HGET', key, 'audience') or '') then
  redis.call('HSET', key, 'audience_since', int(now))
end
for field, value in pairs(q.fields) do
  if value == '' then
    redis.call('HDEL', key, field)
  else
    redis.call('HSET', key, field, value)
  end
end
return 'changed'

#!lua flags=allow-oom
-- Drop the oldest deliveries of a state.
--
-- q.state, q.before, q.limit
-- Returns how many were dropped
--
-- Safe to repeat: what is gone is gone.

local index = root .. 'deliveries:' .. q.state
local ids = redis.call('ZRANGEBYSCORE', index, '-inf', '(' .. int(q.before), 'LIMIT', 0, q.limit)
for _, id in ipairs(ids) do
  redis.call('ZREM', root .. 'deliveries:to:' .. redis.call('HGET', delivery_key(id), 'channel'), id)
  redis.call('ZREM', index, id)
  redis.call('DEL', delivery_key(id))
end
return #ids

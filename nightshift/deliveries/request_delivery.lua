#!lua
-- Write down what is to be said, unless it stands there already.
--
-- q.delivery          the row's fields; `queue` is the key of the queue that it waits in
-- q.state, q.reason   requested, or suppressed and why
-- Returns the row
--
-- Safe to repeat: a delivery is made once under its id, whatever is asked of it later.

local key = delivery_key(q.delivery.id)
if redis.call('EXISTS', key) == 0 then
  for field, value in pairs(q.delivery) do redis.call('HSET', key, field, value) end
  redis.call('HSET', key, 'created', int(now), 'claimed', '')
  redis.call('ZADD', root .. 'deliveries:to:' .. q.delivery.channel, now, q.delivery.id)
  move_delivery(q.delivery.id, q.state, q.reason)
end
return redis.call('HGETALL', key)

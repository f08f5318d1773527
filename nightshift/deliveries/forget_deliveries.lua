#!lua flags=allow-oom
-- Take the text out of these deliveries; what of them nobody has begun to send is not sent.
--
-- q.ids
-- Returns how many had a text
--
-- Safe to repeat: what has no text is left alone.

local gone = 0
for _, id in ipairs(q.ids) do
  local key = delivery_key(id)
  local row = redis.call('HMGET', key, 'text', 'state', 'claimed')
  if row[1] and row[1] ~= '' then
    redis.call('HSET', key, 'text', '')
    if row[2] == 'requested' and row[3] == '' then move_delivery(id, 'suppressed', 'forgotten') end
    gone = gone + 1
  end
end
return gone

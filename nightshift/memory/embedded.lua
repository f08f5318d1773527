#!lua
-- Note which messages have their vector now, or have none any more.
--
-- q.items   [{ref, id, version}]: what was embedded, or taken away, was the text of this version
-- q.model   the model that the vectors are of; empty if they were taken away
-- Returns how many of them still wait, because their text has changed meanwhile
--
-- Safe to repeat.

local still = 0
for _, item in ipairs(q.items) do
  local key = root .. 'message:' .. item.ref .. ':' .. item.id
  local row = redis.call('HMGET', key, 'version', 'deleted')
  if row[1] and tonumber(row[1]) ~= item.version then
    still = still + 1
  else
    if row[1] and not row[2] and q.model ~= '' then redis.call('HSET', key, 'embedded', q.model) end
    redis.call('ZREM', root .. 'unembedded', item.ref .. ' ' .. item.id)
  end
end
return still

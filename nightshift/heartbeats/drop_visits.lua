#!lua
-- Let channels be visited no more.
--
-- q.channels  which
-- q.forget    'row': keep nothing of their visits; 'topics': let them be visited, but keep nothing of what was said
-- Returns how many were changed.
--
-- Safe to repeat.

local function forget_topics(key)
  local acts = cjson.decode(redis.call('HGET', key, 'acts') or '[]')
  if #acts == 0 then return false end
  for _, act in ipairs(acts) do act.topic = '' end
  redis.call('HSET', key, 'acts', cjson.encode(acts))
  return true
end

local function forget_row(channel, key)
  redis.call('ZREM', VISITS, channel)
  redis.call('ZREM', VISITS_OUT, channel)
  redis.call('DEL', root .. 'tally:skips:heartbeat:' .. channel)
  return redis.call('DEL', key) == 1
end

local changed = 0
for _, channel in ipairs(q.channels) do
  local key = visit_key(channel)
  local did = false
  if q.forget == 'row' then
    did = forget_row(channel, key)
  elseif q.forget == 'topics' then
    did = forget_topics(key)
  elseif redis.call('HEXISTS', key, 'next_at') == 1 then
    stop_visits(channel)
    did = true
  end
  if did then changed = changed + 1 end
end
return changed

#!lua flags=allow-oom
-- Count what a call cost in place of what was reserved for it, or give the reservation back.
--
-- q.id                         the reservation
-- q.cost, q.tokens_in, q.tokens_out   what the call took; no cost: it was not made
-- q.run, q.source, q.use       by which the last costs are remembered, where they are not empty
-- Returns {'settled'} | {'already'} | {'unknown'}
--
-- Safe to repeat: a reservation is settled once, also after it has lapsed.

local WARN_AT = 80
local row = redis.call('HMGET', hold_key(q.id), 'state', 'day')
local state = row[1]
if not state then return {'unknown'} end
if state ~= 'held' and state ~= 'lapsed' then return {'already'} end
if state == 'held' then free(q.id, 'settled', 3600) else redis.call('HSET', hold_key(q.id), 'state', 'settled') end
if not q.cost then return {'settled'} end

-- The day it was reserved on is the one it counts for, so that no cap is filled from behind.
today = row[2]

local function remember(key, value)
  redis.call('LPUSH', key, value)
  redis.call('LTRIM', key, 0, 19)
  redis.call('EXPIRE', key, 90 * 86400)
end

for _, at in ipairs(q.levels) do
  if at.level == 'run' then
    redis.call('INCRBY', spent_by(at.name), int(q.cost))
    redis.call('EXPIRE', spent_by(at.name), KEEP_RUNS)
  else
    local entry = redis.call('HGET', book_key(today), label(at)) or '0 0 0 0'
    local cost, calls, tokens_in, tokens_out = entry:match('^(%d+) (%d+) (%d+) (%d+)$')
    entry = table.concat({int(cost + q.cost), int(calls + 1), int(tokens_in + q.tokens_in),
      int(tokens_out + q.tokens_out)}, ' ')
    redis.call('HSET', book_key(today), label(at), entry)
  end
  local cap = cap_of(at)
  if cap and spent(at) * 100 >= cap * WARN_AT then tell_once('warned', at, cap) end
end
redis.call('EXPIRE', book_key(today), KEEP_BOOKS)
redis.call('HINCRBY', root .. 'tally:total', 'spent', int(q.cost))

if q.use ~= '' then remember(root .. 'money:last:use:' .. q.use, int(q.cost)) end
if q.source ~= '' then
  local key = root .. 'money:last:source:' .. q.source
  local cost, run = (redis.call('LINDEX', key, 0) or ''):match('^(%d+) (.*)$')
  if run == q.run then
    redis.call('LSET', key, 0, int(cost + q.cost) .. ' ' .. q.run)
  else
    remember(key, int(q.cost) .. ' ' .. q.run)
  end
end
return {'settled'}
